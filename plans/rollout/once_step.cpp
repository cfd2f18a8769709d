#include "plans/rollout/once_step.hpp"

#include "core/base/error.hpp"

namespace ripcord {
namespace {

using Kind = OnceOutcome::Kind;

const OnceSpec& once_of(const RolloutSpec& spec, int index) { return spec.once[static_cast<std::size_t>(index)]; }

Task<OnceOutcome> attempt(const RolloutSpec& spec, OnceRunner* runner, std::vector<std::string> argv, Millis deadline) {
  if (!runner) throw Error("what is to run once cannot be run by this process");
  std::map<std::string, std::string> environment{
      {"RIPCORD_UNIT", spec.unit}, {"RIPCORD_VERSION", spec.version}, {"RIPCORD_FLEET", spec.fleet}, {"RIPCORD_ROLLOUT", spec.id}};
  co_return co_await runner->run(std::move(argv), std::move(environment), deadline);
}

}  // namespace

json::object once_entry(const RolloutSpec& spec, int index, std::string_view kind) {
  const auto& once = once_of(spec, index);
  return {{"kind", kind}, {"once", index}, {"before", once.before}, {"run", once.text()}};
}

Task<json::object> ask_once(const RolloutSpec& spec, int index, OnceRunner* runner) {
  const OnceSpec once = once_of(spec, index);
  json::object entry = once_entry(spec, index, "once.unknown");
  if (once.check.empty()) {
    entry["reason"] = "nobody saw how it ended, and it has no check";
    co_return entry;
  }
  std::vector<std::string> argv = once.check;
  OnceOutcome seen = co_await attempt(spec, runner, std::move(argv), once.deadline);
  if (seen.kind == Kind::done) entry["kind"] = "once.done", entry["by"] = "check";
  else entry["reason"] = "its check says no: " + seen.text, entry["output"] = seen.output;
  co_return entry;
}

Task<json::object> do_once(const RolloutSpec& spec, int index, OnceRunner* runner) {
  const OnceSpec once = once_of(spec, index);
  std::vector<std::string> argv = once.run;
  OnceOutcome run = co_await attempt(spec, runner, std::move(argv), once.deadline);
  json::object entry = once_entry(spec, index, run.kind == Kind::done ? "once.done" : run.kind == Kind::failed ? "once.failed" : "once.unknown");
  entry["output"] = run.output;
  if (run.kind == Kind::done) {
    entry["by"] = "run";
    co_return entry;
  }
  entry["reason"] = run.text;
  if (once.check.empty()) co_return entry;
  json::object asked = co_await ask_once(spec, index, runner);
  if (asked.at("kind") == "once.done") asked["output"] = entry["output"];
  co_return asked.at("kind") == "once.done" ? asked : entry;
}

}  // namespace ripcord

#include "cli/view/rollout_json.hpp"
#include "cli/view/view.hpp"

namespace ripcord::cli {
namespace {

class JsonlView : public View {
 public:
  explicit JsonlView(Output& out) : out_(out) { out_.version_line(); }

  void on_entry(const LedgerEntry& entry, const RolloutState&) override { out_.print(json_line(std::string_view(entry.line))); }

  void finish(const RolloutState& state, const Runner& runner, Exit exit, WallTime now) override {
    json::object end{{"kind", "rollout.end"}, {"exit", static_cast<int>(exit)}};
    for (auto& member : rollout_json(state, runner, exit, now))
      if (member.key() != "exit" && member.key() != "hosts" && member.key() != "stages") end[member.key()] = std::move(member.value());
    out_.print_json(end);
  }

 private:
  Output& out_;
};

class JsonView : public View {
 public:
  explicit JsonView(Output& out) : out_(out) {}
  void on_entry(const LedgerEntry&, const RolloutState&) override {}
  void finish(const RolloutState& state, const Runner& runner, Exit exit, WallTime now) override {
    out_.print_json(rollout_json(state, runner, exit, now));
  }

 private:
  Output& out_;
};

}  // namespace

std::unique_ptr<View> make_jsonl_view(Output& out) { return std::make_unique<JsonlView>(out); }
std::unique_ptr<View> make_json_view(Output& out) { return std::make_unique<JsonView>(out); }

}  // namespace ripcord::cli

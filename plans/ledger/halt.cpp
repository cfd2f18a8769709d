#include "plans/ledger/halt.hpp"

#include <fmt/format.h>

#include <memory>

#include "core/base/error.hpp"
#include "core/base/files.hpp"

namespace ripcord {
namespace {

// Shared with the tasks: a host that never answers keeps its task longer than anybody waits for it.
struct HaltRound {
  HaltRound(HostPorts& p, std::optional<Halt> h, std::size_t width, std::size_t hosts) : ports(p), halt(std::move(h)), slots(width), lines(hosts) {}
  HostPorts& ports;
  const std::optional<Halt> halt;
  Slots slots;
  std::vector<HaltLine> lines;
  std::vector<char> over = std::vector<char>(lines.size(), 0);
  std::size_t left = lines.size();
  bool abandoned = false;
  std::function<void(const HaltLine&)> on_host;
  Signal changed;

  void ended(std::size_t i) {
    if (abandoned) return;
    over[i] = 1;
    --left;
    if (on_host) on_host(lines[i]);
    changed.notify_all();
  }
};

// The host waits at most 10 s for activations on their way to their switch.
constexpr Millis kHaltAnswer{15000};

Task<> halt_one(std::shared_ptr<HaltRound> round, std::size_t i) {
  auto slot = co_await round->slots.acquire();
  auto& line = round->lines[i];
  try {
    json::object request{{"do", round->halt ? "halt" : "unhalt"}};
    if (round->halt) request["halt"] = to_json(*round->halt);
    json::object reply = co_await round->ports.port(line.host->name).ask(std::move(request), kHaltAnswer);
    line.acknowledged = true;
    if (round->halt && halt_from_json(get_object(reply, "halted")).id != round->halt->id) line.fault = "it is halted by somebody else";
  } catch (const Error& e) {
    line.fault = e.what();
    line.hint = e.hint();
  }
  round->ended(i);
}

}  // namespace

std::string halt_file(const Fleet& fleet) { return fleet.folder + "/.ripcord/halt"; }

std::optional<HaltMark> read_halt_mark(const std::string& file) {
  if (file.empty() || !exists(file)) return std::nullopt;
  try {
    auto o = parse_json_object(trim(read_file(file, 64 * 1024)), "the halt file");
    return HaltMark{halt_from_json(get_object(o, "halt")), get_bool(o, "on")};
  } catch (const Error& e) {
    return HaltMark{{"unreadable", "somebody", "this machine", fmt::format("'{}' cannot be read: {}", file, e.what()), 0}, true};
  }
}

void write_halt_mark(const std::string& file, const HaltMark& mark) {
  make_dirs(parent_dir(file));
  write_file_durable(file, json::serialize(json::object{{"on", mark.on}, {"halt", to_json(mark.halt)}}) + "\n", 0644);
}

json::object halted_entry(const Halt& halt, const std::string& fleet) {
  return {{"kind", "fleet.halted"}, {"fleet", fleet}, {"why", halt.why}, {"halt", to_json(halt)}};
}

json::object unhalted_entry(const Halt& lifted, const std::string& fleet, const std::string& why) {
  return {{"kind", "fleet.unhalted"}, {"fleet", fleet}, {"why", why}, {"halt", to_json(lifted)}};
}

void spool_entry(const std::string& folder, const std::string& id, json::object entry, WallTime now, const std::string& who) {
  make_dirs(folder);
  entry["rollback"] = id;  // what the spool tells its files by
  entry["n"] = 1;
  entry["spooled_at"] = format_utc(now);
  entry["spooled_by"] = who;
  write_file_durable(folder + "/" + id + ".jsonl", json::serialize(entry) + "\n", 0600);
}

std::optional<Halt> standing_halt(const std::vector<LedgerEntry>& entries, const std::string& fleet) {
  std::optional<Halt> halt;
  std::int64_t lifted_ms = 0;
  for (const auto& e : entries) {
    auto kind = get_string_or(e.body, "kind", "");
    if ((kind != "fleet.halted" && kind != "fleet.unhalted") || get_string_or(e.body, "fleet", "") != fleet) continue;
    if (kind == "fleet.unhalted") {
      halt.reset();
      lifted_ms = parse_utc(get_string(e.body, "time")).ms;
      continue;
    }
    auto said = halt_from_json(get_object(e.body, "halt"));
    // One that waited in a spool for the ledger may come in after it was lifted from elsewhere.
    if (!e.body.contains("spooled_at") || said.since_ms > lifted_ms) halt = std::move(said);
  }
  return halt;
}

void HaltWatch::begin() {
  if (auto mark = read_halt_mark(file_)) before_ = mark->halt.id;
}

std::optional<Halt> HaltWatch::heard() const {
  auto mark = read_halt_mark(file_);
  if (mark && (mark->on || mark->halt.id != before_)) return mark->halt;
  return std::nullopt;
}

void HaltWatch::refuse(const std::vector<LedgerEntry>& entries, const std::string& fleet) const {
  auto mark = read_halt_mark(file_);
  auto standing = mark && mark->on ? mark->halt : standing_halt(entries, fleet);
  if (standing)
    throw Error(fmt::format("fleet '{}' is {}", fleet, standing->text()),
                "nothing was started; 'ripcord unhalt -m WHY' lifts it. rollback and abort work all the same", Exit::held);
}

Task<std::vector<HaltLine>> halt_hosts(Loop& loop, Clock& clock, HostPorts& ports, std::vector<const Host*> hosts, std::optional<Halt> halt,
                                       std::size_t width, Millis within, std::function<void(const HaltLine&)> on_host) {
  auto round = std::make_shared<HaltRound>(ports, std::move(halt), width, hosts.size());
  round->on_host = std::move(on_host);
  for (std::size_t i = 0; i < hosts.size(); ++i) {
    round->lines[i].host = hosts[i];
    spawn(loop, halt_one(round, i));
  }
  Elapsed until = clock.elapsed() + within;
  bool in_time = true;
  while (round->left > 0 && in_time) in_time = co_await round->changed.wait_until(clock, until);
  round->abandoned = true;
  for (std::size_t i = 0; i < round->lines.size(); ++i) {
    if (round->over[i]) continue;
    round->lines[i].fault = fmt::format("it did not answer within {}", format_duration(within));
    if (round->on_host) round->on_host(round->lines[i]);
  }
  co_return round->lines;
}

}  // namespace ripcord

#include "manifests/host/history.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace ripcord {
namespace {

Operation& operation(UnitHistory& h, const JournalRecord& r) {
  auto op = get_string(r.body, "op");
  auto found = h.operations.find(op);
  if (found == h.operations.end()) throw Error(fmt::format("{} of the operation '{}', which has no INTENT", r.kind, op));
  auto& o = found->second;
  o.state.at_ms = r.at_ms;
  o.state.detail = get_string_or(r.body, "detail", o.state.detail);
  return o;
}

void raise_epoch(UnitHistory& h, const JournalRecord& r) {
  h.epoch = std::max(h.epoch, get_int(r.body, "epoch"));
  h.holder = get_string(r.body, "holder");
  // The cord may be pulled from a machine with a ledger of its own, or none: that does not make the unit its.
  bool back = r.kind == "INTENT" && !get_bool(r.body, "forward");
  if (auto ledger = get_string_or(r.body, "ledger_id", ""); !ledger.empty() && (h.ledger_id.empty() || !back)) h.ledger_id = ledger;
}

void begin_operation(UnitHistory& h, const JournalRecord& r) {
  auto op = get_string(r.body, "op");
  Operation o;
  o.state.op = op;
  o.state.rollout = get_string_or(r.body, "rollout", "");
  o.state.phase = OpPhase::intent;
  o.state.forward = get_bool(r.body, "forward");
  o.state.from = optional_release(r.body, "from");
  o.state.to = optional_release(r.body, "to");
  o.state.undo_to = optional_release(r.body, "undo_to");
  o.state.who = get_string_or(r.body, "who", "");
  o.state.why = get_string_or(r.body, "why", "");
  o.state.at_ms = r.at_ms;
  o.epoch = get_int(r.body, "epoch");
  o.holder = get_string_or(r.body, "holder", "");
  o.ledger_id = get_string_or(r.body, "ledger_id", "");
  o.within_ms = get_int_or(r.body, "within_ms", 0);
  o.boot = r.boot;
  o.intent = r.body;
  if (!h.operations.emplace(op, std::move(o)).second) throw Error(fmt::format("a second INTENT of the operation '{}'", op));
  h.order.push_back(op);
  raise_epoch(h, r);
}

void read_labels(UnitHistory& h, const JournalRecord& r) {
  h.labels.clear();
  for (const auto& [key, value] : get_object(r.body, "labels")) {
    if (!value.is_string()) throw Error("a label is not a string");
    h.labels[std::string(key)] = std::string(value.get_string());
  }
  h.arch = get_string_or(r.body, "arch", "");
}

void apply(UnitHistory& h, const JournalRecord& r) {
  if (r.kind == "CREATED") {
    h.host_id = get_string(r.body, "host_id");
    h.root = get_string(r.body, "root");
  } else if (r.kind == "LABELS") {
    read_labels(h, r);
  } else if (r.kind == "STAGED") {
    auto release = optional_release(r.body, "release");
    if (release && std::find(h.staged.begin(), h.staged.end(), *release) == h.staged.end()) h.staged.push_back(*release);
  } else if (r.kind == "FENCE") {
    raise_epoch(h, r);
  } else if (r.kind == "INTENT") {
    begin_operation(h, r);
  } else if (r.kind == "ARMED") {
    auto& o = operation(h, r);
    o.armed = true;
    o.strength = get_string_or(r.body, "strength", "weak");
    o.deadline = Elapsed{get_int(r.body, "deadline_us")};
    o.boot = r.boot;
  } else if (r.kind == "ACTIVATED") {
    auto& o = operation(h, r);
    o.state.phase = OpPhase::activated;
    h.believed = o.state.to;
  } else if (r.kind == "CONFIRMED") {
    auto& o = operation(h, r);
    o.state.phase = OpPhase::confirmed;
    h.believed = o.state.to;
  } else if (r.kind == "REVERTING") {
    auto& o = operation(h, r);
    o.state.phase = OpPhase::reverting;
    ++o.attempts;
  } else if (r.kind == "ATTEMPT") {
    ++operation(h, r).attempts;
  } else if (r.kind == "REVERTED") {
    auto& o = operation(h, r);
    o.state.phase = OpPhase::reverted;
    h.believed = o.state.from;
  } else if (r.kind == "FAILED_UNCHANGED") {
    auto& o = operation(h, r);
    o.state.phase = OpPhase::failed_unchanged;
    h.believed = o.state.from;
  } else if (r.kind == "NEEDS_OPERATOR") {
    operation(h, r).state.phase = OpPhase::needs_operator;
  }  // other kinds are from a newer helper, and are kept for it
}

}  // namespace

bool Operation::terminal() const {
  return state.phase == OpPhase::confirmed || state.phase == OpPhase::reverted || state.phase == OpPhase::failed_unchanged ||
         state.phase == OpPhase::needs_operator;
}

const Operation* UnitHistory::find(const std::string& op) const {
  auto found = operations.find(op);
  return found == operations.end() ? nullptr : &found->second;
}

const Operation* UnitHistory::newest_forward() const {
  for (auto id = order.rbegin(); id != order.rend(); ++id)
    if (const auto& op = operations.at(*id); op.state.forward && op.state.from != op.state.to) return &op;
  return nullptr;
}

const Operation* UnitHistory::newest() const { return order.empty() ? nullptr : find(order.back()); }

const Operation* UnitHistory::open() const {
  const auto* last = newest();
  return last && !last->terminal() ? last : nullptr;
}

bool UnitHistory::once_confirmed(const ReleaseId& release) const {
  return std::any_of(operations.begin(), operations.end(), [&](const auto& entry) {
    const auto& state = entry.second.state;
    return state.phase == OpPhase::confirmed && (state.to == release || state.from == release || state.undo_to == release);
  });
}

std::optional<ReleaseId> UnitHistory::way_back(const std::optional<ReleaseId>& current) const {
  for (auto id = order.rbegin(); id != order.rend(); ++id) {
    const auto& op = operations.at(*id);
    const auto& state = op.state;
    bool went = state.phase == OpPhase::confirmed || state.phase == OpPhase::activated;
    bool repair = state.from == state.to;  // the same release once more: what it came from is further back
    if (state.forward && went && !repair) return current && state.to == current && op.way_back() != current ? op.way_back() : std::nullopt;
  }
  return std::nullopt;
}

UnitHistory fold(const std::vector<JournalRecord>& records) {
  UnitHistory h;
  for (const auto& r : records) {
    try {
      apply(h, r);
    } catch (const HostFailure&) {
      throw;
    } catch (const Error& e) {
      throw HostFailure("journal_damaged", fmt::format("record {} of the journal makes no sense: {}", r.seq, e.what()),
                        "nothing was written; compare the journal with the ledger's copy of this host's records");
    }
  }
  return h;
}

OpState state_of(const Operation& op, const HostContext& host) {
  OpState s = op.state;
  s.epoch = op.epoch;
  bool waiting = op.armed && (s.phase == OpPhase::intent || s.phase == OpPhase::activated);
  if (!waiting) return s;
  Elapsed now = host.elapsed();
  s.deadline_left_ms = op.boot != host.boot_id || op.deadline <= now ? 0 : (op.deadline - now).count();
  return s;
}

json::value to_json(const std::optional<ReleaseId>& release) {
  if (!release) return nullptr;
  return to_json(*release);
}

std::optional<ReleaseId> optional_release(const json::object& o, std::string_view key) {
  const auto* found = find_object(o, key);
  if (!found) return std::nullopt;
  return release_id_from_json(*found);
}

}  // namespace ripcord

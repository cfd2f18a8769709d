#include "tests/fault/power_scene.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "core/base/wire.hpp"
#include "manifests/host/deadman.hpp"
#include "manifests/host/halt.hpp"
#include "manifests/host/release_folder.hpp"
#include "manifests/host/return_path.hpp"

namespace ripcord::test {
namespace {

constexpr std::int64_t kDay = 86400000;
constexpr int kOld = 8;  // releases before a prune: 1.0 and 1.1 are due

json::object request(std::string_view name, json::object o) {
  o["do"] = name;
  return o;
}

struct Session {
  std::string bytes = "RIPCORD 0123456789abcdef\n";
  int id = 0;
  void ask(json::object o, std::optional<std::string> data = std::nullopt) {
    o["id"] = ++id;
    append_frame(bytes, FrameKind::control, json::serialize(o));
    if (!data) return;
    append_frame(bytes, FrameKind::data, *data);
    append_frame(bytes, FrameKind::data, "");
  }
  void stage(ActivationHost& h, const TestRelease& release) {
    ask(request("stage_offer", to_json(h.offer(release))));
    ask(request("stage_pack", to_json(h.ref())), release.pack(h.offered(release).lacking));
  }
  std::string end() {
    ask(request("bye", {}));
    return bytes;
  }
};

// The id that a release gets on a host like this one.
ReleaseId id_of(const TestRelease& release) {
  ActivationHost scratch;
  return scratch.stage(release).release;
}

json::object confirmation(const std::string& op) {
  return request("confirm", {{"unit", "storefront"}, {"root", "/srv"}, {"op", op}, {"epoch", 1}, {"holder", "me"}});
}

ReleaseId deployed(ActivationHost& h, const TestRelease& release, const std::string& op) {
  auto staged = h.stage(release).release;
  activate(h.host, h.forward(op, read_current(h.unit()).release, staged));
  if (h.confirm_op(op).phase != OpPhase::confirmed) throw Error("cannot deploy " + staged.folder());
  return staged;
}

PruneRequest due(ActivationHost& h, std::int64_t now) {
  PruneRequest r;
  r.unit = h.ref();
  r.now_ms = now;
  return r;
}

// One release a day, the first forty days ago; what is due is marked twenty days ago.
void age(ActivationHost& h) {
  const std::int64_t today = wall_now().ms;
  std::int64_t now = today - 40 * kDay;
  h.host.wall = [&now] { return WallTime{now}; };
  for (int i = 0; i < kOld; ++i, now += kDay) deployed(h, still(fmt::format("1.{}", i)), fmt::format("old-{}", i));
  now = today - 10 * kDay;
  prune(h.host, due(h, now));
  h.host.wall = wall_now;
}

bool whole(ActivationHost& h, const ReleaseId& release) {
  return verify_release(h.unit(), require_release(h.unit(), release), Verify::full).clean();
}

std::string version_of(const std::optional<ReleaseId>& release) { return release ? release->version : "nothing"; }

bool journalled(const std::vector<JournalRecord>& records, std::string_view kind, const std::string& op) {
  return std::any_of(records.begin(), records.end(), [&](const auto& r) { return r.kind == kind && (op.empty() || get_string_or(r.body, "op", "") == op); });
}

// Promise 3: what had left the host before the cut is so after it.
std::string wrong_promise(const Script& script, ActivationHost& h, const std::vector<JournalRecord>& records, const std::vector<json::object>& told) {
  for (const auto& frame : told) {
    auto event = get_string_or(frame, "event", "");
    if (event == "armed" && !journalled(records, "ARMED", script.op)) return "it said 'armed', and the journal does not";
    if (event == "activated" && !journalled(records, "ACTIVATED", script.op)) return "it said 'activated', and the journal does not";
    if (!get_bool_or(frame, "ok", false)) continue;
    if (get_string_or(frame, "phase", "") == "confirmed" && !journalled(records, "CONFIRMED", script.op)) return "it said confirmed, and the journal does not";
    if (const auto* state = find_object(frame, "state"); state && get_bool_or(frame, "switched", false)) {
      auto phase = get_string_or(*state, "phase", "");
      if (!journalled(records, phase == "confirmed" ? "CONFIRMED" : "ACTIVATED", script.op)) return "it answered " + phase + ", and the journal does not know";
    }
    if (get_bool_or(frame, "complete", false)) {
      auto release = release_id_from_json(get_object(frame, "release"));
      if (!whole(h, release)) return "it said that it holds " + release.folder() + ", and it is not whole";
    }
    if (frame.contains("halted") && !halt_flag(h.host)) return "it said that it is halted, and it is not";
    if (get_int_or(frame, "epoch", 0) == 5 && fold(records).epoch != 5) return "it said that it has seen epoch 5, and it does not know it";
    if (frame.contains("items") && !journalled(records, "PRUNED", "")) return "it said that it has pruned, and the journal does not";
  }
  return "";
}

}  // namespace

std::string goal(Scene scene) {
  switch (scene) {
    case Scene::revert: return "reverted";
    case Scene::prune: return "2 pruned";
    case Scene::steer: return "fenced, halted";
    default: return "confirmed";
  }
}

const char* to_text(Scene scene) {
  switch (scene) {
    case Scene::first: return "first deployment";
    case Scene::upgrade: return "upgrade";
    case Scene::rollback: return "rollback";
    case Scene::healed: return "rollback to a damaged release";
    case Scene::revert: return "revert";
    case Scene::prune: return "prune";
    case Scene::steer: return "fence and halt";
  }
  return "";
}

Script prepare(Scene scene, ActivationHost& h) {
  Script s;
  Session session;
  auto forward = [&](const ReleaseId& to) {
    s.to = to;
    session.ask(request("activate", to_json(h.forward(s.op, s.from, to))));
    session.ask(confirmation(s.op));
  };
  switch (scene) {
    case Scene::first: {
      auto release = still("1.0", 40);  // so many that they are made durable together
      session.stage(h, release);
      forward(id_of(release));
      break;
    }
    case Scene::upgrade: {
      s.from = deployed(h, still("1.0"), "one");
      session.stage(h, still("1.1"));  // so few that each is made durable by itself
      forward(id_of(still("1.1")));
      break;
    }
    case Scene::rollback:
    case Scene::healed:
      s.to = deployed(h, still("1.0"), "one");
      s.from = deployed(h, still("1.1"), "two");
      if (scene == Scene::healed) put(h.unit().release(s.to->folder()) + "/common/2", "scribbled over");
      session.ask(request("activate", to_json(h.back(s.op, s.from, s.to))));
      break;
    case Scene::revert: {
      s.from = deployed(h, still("1.0"), "one");
      s.to = h.stage(still("1.1")).release;
      activate(h.host, h.forward(s.op, s.from, *s.to));
      disarm(h.host, *read_pending(h.unit()));  // what waits dies with its boot
      return s;
    }
    case Scene::prune:
      age(h);
      s.from = s.to = read_current(h.unit()).release;
      session.ask(request("prune", to_json(due(h, wall_now().ms))));
      break;
    case Scene::steer:
      s.from = deployed(h, still("1.0"), "one");
      s.to = h.stage(still("1.1")).release;
      session.ask(request("fence", to_json(FenceRequest{h.ref(), 5, "her", "ledger", "pulled", "ann", "test"})));
      session.ask(request("halt", {{"halt", to_json(Halt{"h1", "ann", "ops", "test", wall_now().ms})}}));
      session.ask(request("activate", to_json(h.forward(s.op, s.from, *s.to))));
      break;
  }
  s.input = session.end();
  return s;
}

std::vector<json::object> frames_in(std::string_view output) {
  std::vector<json::object> out;
  auto line = output.find('\n');
  if (line == output.npos) return out;
  FrameReader reader;
  reader.feed(output.substr(line + 1));
  while (auto frame = reader.next()) out.push_back(parse_json_object(frame->payload, "a frame"));
  return out;
}

std::string wrong_at_once(Scene scene, const Script& script, ActivationHost& h, const std::vector<json::object>& told) {
  auto current = read_current(h.unit());
  bool may_switch = scene != Scene::steer && scene != Scene::prune;
  bool at_from = names(current, script.from), at_to = may_switch && names(current, script.to);
  if (!at_from && !at_to) return fmt::format("current names '{}', neither {} nor {}", current.target, version_of(script.from), version_of(script.to));
  if (current.release && !whole(h, *current.release)) return fmt::format("current names {}, and that is not whole", current.target);
  if (!current.release && current.kind != Observation::Current::none) return "current names something that is no release of ours";
  auto records = Journal(h.unit()).records();
  if (may_switch && at_to && script.to != script.from && !journalled(records, "INTENT", script.op)) return "it has switched without an intent";
  // The journal is never ahead of the link.
  auto phase = h.state(script.op).phase;
  if ((phase == OpPhase::activated || phase == OpPhase::confirmed) && !at_to) return fmt::format("the journal says {}, and current names '{}'", to_text(phase), current.target);
  if (scene == Scene::prune)
    for (const auto& release : releases_on_host(h.unit()))
      if (!whole(h, release)) return fmt::format("release {} is listed, and is not whole", release.folder());
  return wrong_promise(script, h, records, told);
}

std::string wrong_when_recovered(Scene scene, const Script& script, ActivationHost& h, OpPhase at_the_cut) {
  auto records = Journal(h.unit()).records();
  auto phase = h.state(script.op).phase;
  auto on = read_current(h.unit()).release;
  const bool forward = scene == Scene::first || scene == Scene::upgrade || scene == Scene::revert;
  if (phase == OpPhase::needs_operator) return "a person is wanted: " + h.state(script.op).detail;
  if (phase == OpPhase::intent || phase == OpPhase::activated || phase == OpPhase::reverting) return "the operation is not ended";
  if (forward && (phase == OpPhase::confirmed) != (at_the_cut == OpPhase::confirmed)) return fmt::format("it was {}, and has become {}", to_text(at_the_cut), to_text(phase));
  if (at_the_cut == OpPhase::confirmed && phase != OpPhase::confirmed) return fmt::format("it was confirmed, and has become {}", to_text(phase));
  auto wanted = phase == OpPhase::confirmed ? script.to : script.from;
  if (on != wanted) return fmt::format("the operation is {}, and current is on {}", to_text(phase), version_of(on));
  if (on && !whole(h, *on)) return "what it runs is not whole";
  if (auto conf = text_of(h.dir / "etc/still.conf"); conf != (wanted ? "conf of " + wanted->version : "")) return fmt::format("the placed file says '{}'", conf);
  if (!h.nothing_left()) return "something of the operation is left";
  int ends = 0;
  for (const auto& r : records)
    ends += get_string_or(r.body, "op", "") == script.op && (r.kind == "CONFIRMED" || r.kind == "REVERTED" || r.kind == "FAILED_UNCHANGED" || r.kind == "NEEDS_OPERATOR");
  if (ends > 1) return "more than one verdict";
  if (scene != Scene::prune) return "";
  // Promise 13, and soft deletes that were cut short are gone with the next one.
  auto back = return_path(fold(records), read_current(h.unit()));
  if (!back.to || !whole(h, *back.to)) return "the way back is gone";
  prune(h.host, due(h, wall_now().ms));
  if (releases_on_host(h.unit()).size() != kOld - 2) return fmt::format("{} releases are left", releases_on_host(h.unit()).size());
  for (const auto& place : {h.unit().releases, h.unit().metadata()})
    for (const auto& name : names_in(place))
      if (name[0] == '.') return place + "/" + name + " is left";
  return "";
}

std::string wrong_afterwards(ActivationHost& h) {
  auto from = read_current(h.unit()).release;
  if (halt_flag(h.host)) lift_halt(h.host);
  auto to = h.stage(still("9.0")).release;
  auto there = h.forward("after-1", from, to), and_back = h.back("after-2", to, from);
  there.epoch = and_back.epoch = 9;
  activate(h.host, there);
  if (auto s = confirm(h.host, h.ref(), "after-1", 9, "me"); s.phase != OpPhase::confirmed) return fmt::format("going forward afterwards: {} {}", to_text(s.phase), s.detail);
  if (read_current(h.unit()).release != to || text_of(h.dir / "etc/still.conf") != "conf of 9.0") return "forward afterwards, and it does not run that";
  auto back = activate(h.host, and_back).state;
  if (back.phase != OpPhase::confirmed) return fmt::format("going back afterwards: {} {}", to_text(back.phase), back.detail);
  if (read_current(h.unit()).release != from) return "back afterwards, and it does not run that";
  return h.nothing_left() ? "" : "something of what came afterwards is left";
}

std::string standing(Scene scene, const Script& script, ActivationHost& h) {
  if (scene == Scene::prune) {
    int pruned = 0;
    for (const auto& r : Journal(h.unit()).records()) pruned += r.kind == "PRUNED";
    return fmt::format("{} pruned", pruned);
  }
  if (scene == Scene::steer) return fmt::format("{}{}", fold(Journal(h.unit()).records()).epoch == 5 ? "fenced" : "free", halt_flag(h.host) ? ", halted" : "");
  std::string at(to_text(h.state(script.op).phase));
  return at == "intent" && names(read_current(h.unit()), script.to) ? at + ", switched" : at;
}

}  // namespace ripcord::test

// The way back of a rehearsal on one host, with a full look before and after: what was only inferred proves nothing.
#include <fmt/format.h>

#include "plans/rollout/step_results.hpp"

namespace ripcord {
namespace {

constexpr int kLooks = 3;  // persistent errors only: one missed health check is no disproof
constexpr Millis kPause{500};

struct Seen {
  std::optional<ReleaseId> running;
  std::string trouble;  // why it is not well; "" when it is
  std::optional<LinkError> silence;  // the host could not be asked
  bool ours() const { return silence && silence->fault() == LinkFault::ours; }
};

std::string trouble_of(const Observation& o) {
  if (!o.running) return fmt::format("'current' is {}", to_text(o.current));
  if (o.tree_state != "verified")
    return fmt::format("the tree of {} is {}{}", o.running->folder(), o.tree_state,
                       o.findings.empty() ? "" : fmt::format(": {} '{}'", o.findings[0].kind, o.findings[0].path));
  return o.process_ok ? "" : o.process_detail.empty() ? "it is not healthy" : o.process_detail;
}

Task<Seen> look(const StepContext& c) {
  Seen seen;
  for (int left = kLooks; left > 0; --left) {
    seen = Seen{};
    try {
      Look found = co_await c.port.look(c.spec.unit_ref(), Verify::full, true);
      seen.running = found.unit.running;
      seen.trouble = trouble_of(found.unit);
    } catch (const LinkError& e) {
      seen.silence = e;
    } catch (const HostRefusal& e) {
      seen.trouble = e.message();
    }
    if (seen.silence ? is_final(*seen.silence) : seen.trouble.empty()) break;
    if (left > 1) co_await sleep_until(c.clock, c.clock.elapsed() + kPause);
  }
  co_return seen;
}

StepResult at_rehearsal(StepResult r) {
  r.entry["failed_step"] = "rehearsal";
  return r;
}

StepResult marked(const StepContext& c, StepResult r) {
  if (r.entry.empty()) return r;
  r.entry["rehearsal"] = true;
  if (r.entry.at("kind") == "host.stuck") {  // ends the proof of this pair, if there was one
    r.entry["from"] = c.plan.from->manifest.hex();
    r.entry["to"] = c.plan.to.manifest.hex();
  }
  return r;
}

// A drill that found a way back which does not work: a live host is not left there.
Task<StepResult> found_out(StepContext c, StepResult stuck) {
  Seen seen = co_await look(c);
  if (seen.ours()) co_return our_fault(seen.silence->message());
  StepResult r = marked(c, stuck);
  if (seen.running == c.plan.from) {
    r.entry["kind"] = "host.returned";
    r.entry["to"] = c.plan.from->folder();
    r.entry.erase("from");
  } else if (seen.running == c.plan.to && seen.trouble.empty()) {
    r.entry["kind"] = "drill.disproved";  // it refused, and nothing has changed
    r.entry["from_version"] = c.plan.from->version;
    r.entry["to_version"] = c.plan.to.version;
  }
  co_return r;
}

}  // namespace

Task<StepResult> walk_back_step(StepContext c) {
  Seen before = co_await look(c);
  if (before.ours()) co_return our_fault(before.silence->message());
  if (before.silence) co_return marked(c, at_rehearsal(unknown(c, *before.silence, "before going back: ")));
  // Already back: a walk that was cut short goes on.
  if (before.running == c.plan.to && !before.trouble.empty()) {
    co_return failed(c, "rehearsal", fmt::format("confirmed on {}, and now {}", c.plan.to.version, before.trouble), true);
  }
  StepContext copy = c;
  StepResult back = co_await go_back_step(std::move(copy));
  if (!c.spec.drill.empty() && !back.entry.empty() && back.entry.at("kind") == "host.stuck") co_return co_await found_out(std::move(c), std::move(back));
  if (back.entry.empty() || back.entry.at("kind") != "host.returned") co_return marked(c, std::move(back));

  Seen after = co_await look(c);
  if (after.ours()) co_return our_fault(after.silence->message());
  if (after.silence) co_return marked(c, at_rehearsal(unknown(c, *after.silence, "after going back: ")));
  if (after.running != c.plan.from && after.trouble.empty())
    after.trouble = fmt::format("'current' names {}", after.running ? after.running->folder() : "no release");
  if (!after.trouble.empty() && !c.spec.drill.empty() && after.running == c.plan.from) {
    back.entry["reason"] = after.trouble;  // it is there, if not well: it comes forward again, to where it was well
    co_return marked(c, std::move(back));
  }
  if (!after.trouble.empty()) co_return marked(c, at_rehearsal(stuck(c, fmt::format("back on {}, but {}", c.plan.from->version, after.trouble))));
  back.entry["verified"] = c.plan.from->tree.hex();
  co_return marked(c, std::move(back));
}

}  // namespace ripcord

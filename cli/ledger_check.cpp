#include "cli/ledger_check.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "cli/target.hpp"
#include "plans/ledger/host_journals.hpp"

namespace ripcord::cli {
namespace {

constexpr Millis kAskHosts{4000};

// Outlives the wait: hosts that do not answer in time end when they end.
struct Asked {
  std::vector<HostLook> looks;
  std::vector<bool> answered;
  std::size_t open = 0;
  Signal one_more;
};

Task<> ask(Loop& loop, HostPorts& ports, std::shared_ptr<Asked> asked, std::size_t i, UnitRef unit, std::shared_ptr<Slots> slots) {
  auto slot = co_await slots->acquire();
  std::vector<const Host*> one{asked->looks[i].host};
  auto look = co_await look_at(loop, ports, std::move(one), std::move(unit), Verify::none, false, 1);
  asked->looks[i] = std::move(look[0]);
  asked->answered[i] = true;
  --asked->open;
  asked->one_more.notify_all();
}

Task<> wait_for(Context& c, std::shared_ptr<Asked> asked) {
  auto until = c.clock().elapsed() + kAskHosts;
  while (asked->open > 0) {
    bool notified = co_await asked->one_more.wait_until(c.clock(), until);
    if (!notified) break;
  }
}

}  // namespace

std::vector<PreflightFinding> lost_commits(Context& c, const std::vector<HostLook>& looks, const std::string& unit) {
  auto lost = lost_operations(c.entries(), looks, unit, c.ledger().id());
  if (lost.empty()) return {};
  return {{"", to_text(lost) + "; `" + c.command("reconcile " + unit) + "` brings them back from the hosts", true, Exit::integrity}};
}

void require_no_lost_commits(Context& c, const RolloutState& state) {
  if (state.aborted || state.rolling_back) return;  // going back is always allowed, and asks every host itself
  auto asked = std::make_shared<Asked>();
  for (const auto& plan : state.spec().hosts)
    if (const auto* host = c.fleet().find(plan.name)) asked->looks.emplace_back().host = host;
  asked->open = asked->looks.size();
  asked->answered.resize(asked->open);
  auto slots = std::make_shared<Slots>(kLookWidth);
  for (std::size_t i = 0; i < asked->looks.size(); ++i) spawn(c.loop(), ask(c.loop(), c.ports(), asked, i, state.spec().unit_ref(), slots));
  c.wait(wait_for(c, asked));
  std::vector<HostLook> answered;
  for (std::size_t i = 0; i < asked->looks.size(); ++i)
    if (asked->answered[i]) answered.push_back(asked->looks[i]);
  auto entries = c.entries();
  if (auto cords = unknown_cords(entries, answered, state); !cords.empty())
    throw Error(fmt::format("the rip cord was pulled on {} at {}, on another machine and without this ledger; this rollout does not go on behind its back",
                            cords[0].host, format_utc({cords[0].at_ms})),
                fmt::format("nothing was changed; `{}` brings the other hosts back, too", c.command("rollback " + state.spec().unit)), Exit::held);
  auto lost = lost_operations(entries, answered, state.spec().unit, c.ledger().id());
  if (!lost.empty())
    throw Error(to_text(lost), "nothing was changed; `" + c.command("reconcile " + state.spec().unit) + "` brings them back from the hosts", Exit::integrity);
}

}  // namespace ripcord::cli

// Which hosts are to be brought to their unit's stable release, and why others are not: pure, from the books and from what the hosts say
// themselves. Where a host disagrees with the ledger it is right: one that runs the release already has only to be written down, and one
// that runs something nobody recorded is named, not overwritten.
#pragma once
#include <map>
#include <set>
#include <string>
#include <vector>

#include "plans/hosts/host_look.hpp"
#include "plans/ledger/debt.hpp"

namespace ripcord {

struct ConvergeLine {
  enum class What {
    bring,        // staged, switched, watched, confirmed
    note,         // runs it, and the ledger did not know
    well,         // runs it, or is elsewhere because somebody decided so
    silent,       // did not answer
    left_alone,   // owed, and only a person can say what to do: `why`
  };
  const HostLook* look = nullptr;
  What what = What::well;
  std::string why;
  bool empty = false;  // installed again: what runs there, if anything, is not believed
};

struct ConvergeInput {
  std::string unit;
  const DebtBook* book = nullptr;
  std::set<std::string> named;  // by a person, one by one: also those that need one
  std::string ledger_id;
};

// `looks`: hosts of the unit that are expected and not in quarantine.
std::vector<ConvergeLine> plan_convergence(const std::vector<HostLook>& looks, const ConvergeInput& in);

// The way every host goes: one stage as wide as the plan's last, no bake longer than ten seconds, no approval, no window, nothing once:
// the release runs on the others. Three failures end it.
Plan convergence_plan(Plan plan);

// Hosts that come to the stable release join the decision that brought it: in their journals it is that rollout's, and a rip cord takes them
// where it takes the others. `back`: by host, the predecessor as it lies there.
void join_decision(RolloutSpec& spec, const Stable& stable, const std::map<std::string, ReleaseId>& back);

// What makes a rollout spec a convergence: it decides nothing, and its hosts join what was decided.
void make_convergence(RolloutSpec& spec, const UnitStanding& standing, const std::vector<ConvergeLine>& lines, const std::map<std::string, ReleaseId>& back);

}  // namespace ripcord

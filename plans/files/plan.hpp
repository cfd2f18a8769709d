// plan.yaml: how a release goes through the fleet (docs/files.md), and the ladder that stands in where there is no file.
#pragma once
#include <optional>
#include <string>
#include <vector>

#include "plans/files/fleet.hpp"
#include "plans/files/once_spec.hpp"
#include "plans/files/selector.hpp"
#include "plans/files/window.hpp"

namespace ripcord {

// What old code makes of what new code left behind changes as data grows; a ladder from Friday noon to the whole fleet takes until
// Wednesday in working hours. A week covers the ladder and not much more.
inline constexpr Millis kProofValid{7LL * 24 * 3600 * 1000};

// "3" or "25%"; a percentage rounds down to whole hosts, but is never less than one when it is not 0%.
struct Amount {
  int value = 0;
  bool percent = false;
  int of(int total) const;
  std::string text() const;
};

// Of the unit's hosts that earlier stages have not taken. A percentage is of all hosts of the unit that match `where` (per_label: of
// those with the same value), taken or not, so that "10%" means the same in every stage.
struct Selection {
  enum class Kind { count, per_label, datacenters, rest };
  Kind kind = Kind::rest;
  Amount amount{1, false};      // count: that many; per_label: that many for each value of `label`; datacenters: that many whole ones
  std::string label = "datacenter";
  std::optional<Selector> where;
};

struct MaxUnavailable {         // at most so many hosts of one value of the label drained, activating or unhealthy at once
  std::string label;            // empty: of the whole fleet
  Amount amount{1, false};
};

struct StagePlan {
  std::string name;
  Selection hosts;
  Amount max_parallel{10, false};
  bool slow_start = true;       // 1, 2, 4 … up to max_parallel
  std::optional<MaxUnavailable> max_unavailable;
  Millis bake{0};
  bool approval = false;        // a person approves before this stage starts
};

struct CompletedElsewhere {      // `requires: {fleet: staging, completed: 24h}`: the same manifest, there, for so long
  std::string fleet;               // its fleet file, or the name of a folder or file beside this fleet's
  Millis completed{0};
};

struct Plan {
  std::string name = "ladder";
  std::string unit;             // empty: any
  std::vector<StagePlan> stages;
  std::optional<Window> window;
  Amount max_failures{1, false};
  Amount max_unreachable{5, true};
  Millis progress_deadline{600000};
  bool rollback_on_failure = true;  // else pause
  bool demand_strong_deadman = false;
  bool set_aside_drift = false;     // on_drift: a running release that was changed by hand is put right first; else it is refused
  Millis spread{0};                 // restarts of a stage are spread over this long, with jitter
  Millis hotfix_bake{60000};        // --hotfix: no bake is longer than this
  Millis proof_expires = kProofValid;
  std::vector<OnceSpec> once;       // `stage` counts the plan's stages
  std::optional<CompletedElsewhere> completed_elsewhere;
  bool rest_excluded = false;       // `rest: excluded`: hosts that no stage takes are left out knowingly (they stay owed)
};

// The default ladder, computed from the hosts that carry the unit: canary (1 host, 24 h), one host in each datacenter (4 h), one
// whole datacenter (2 h), everyone; with one datacenter 1 host, 10 %, 50 %, rest. Stages that would be empty are left out.
// Local fleets have no window and bakes of seconds.
Plan default_ladder(const Fleet& fleet, const std::vector<const Host*>& hosts);
Plan load_plan(const std::string& path, const Fleet& fleet);  // Error(Exit::invalid_file) with every mistake
Plan decode_plan(const std::string& name, std::string text, const Fleet& fleet);

// Which hosts go in which stage. Within a stage hosts are ordered so that failure domains alternate. Every host of `hosts` lands in
// exactly one stage; hosts no stage takes are an Error naming them (a plan must end in everyone or say why: `rest: excluded`).
// The result has one list a stage, which may be empty. `hosts` in file order; deterministic.
std::vector<std::vector<const Host*>> assign_stages(const Plan& plan, const std::vector<const Host*>& hosts);

}  // namespace ripcord

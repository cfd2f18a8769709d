// What makes a rollout spec a repair: it decides nothing, and a rip cord later goes past it, to where it would have gone before.
#pragma once
#include <vector>

#include "plans/hosts/host_look.hpp"
#include "plans/ledger/rollout_spec.hpp"

namespace ripcord {

// `looks`: of its hosts, at least, before anything is changed.
void make_repair(RolloutSpec& spec, const std::vector<HostLook>& looks);

}  // namespace ripcord

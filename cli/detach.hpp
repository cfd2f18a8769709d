// A rollout that goes on without the terminal: a process of its own that does what `resume` does.
#pragma once
#include <string>

#include "cli/context.hpp"

namespace ripcord::cli {

// Goes on with the unit's open rollout in a session of its own, and returns when that process has its lease (or has ended: then its
// exit code). Exit::waiting: it runs.
Exit detach_rollout(Context& context, const std::string& unit, const std::string& rollout, bool take_over);

// The socket of the ssh-agent that this fleet's logins depend on; "" when they do not. An agent often goes with its session, and
// takes a detached rollout's credentials along.
std::string session_agent(const Fleet& fleet);

}  // namespace ripcord::cli

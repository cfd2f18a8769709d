// The embedded fleet: a host is a folder, its program a child process with that folder as root. Everything above a Link runs
// the same way over it as over SSH.
#pragma once
#include <memory>

#include "core/net/link.hpp"

namespace ripcord {

// The program is copied once to <folder>/var/lib/ripcord/helper/<digest>/ripcord-host and run as `serve --root <folder>`, in a
// session of its own. A closed channel does not kill it: it reads the end of its input, finishes its step and exits.
std::unique_ptr<Link> make_local_link(Loop& loop, Clock& clock, Program program);

}  // namespace ripcord

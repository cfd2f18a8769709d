// What commands that go forward ask first.
#pragma once
#include <optional>

#include "cli/context.hpp"
#include "manifests/shared/halt.hpp"

namespace ripcord::cli {

std::optional<Halt> halt_in_force(Context& context);  // by this machine's note, else by the ledger
void refuse_when_halted(Context& context);            // Error(Exit::held)

}  // namespace ripcord::cli

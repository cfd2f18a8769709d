// A ledger's id as hosts keep it: "<32 hex digits>@<machine that made it>", so that whoever finds a host in another ledger's hands
// knows where to look.
#pragma once
#include <string>

namespace ripcord {

std::string ledger_text(const std::string& id);  // "the ledger of machine 'ops-1' (id 0123456789ab…)"; not escaped

}  // namespace ripcord

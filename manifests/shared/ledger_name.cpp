#include "manifests/shared/ledger_name.hpp"

#include <fmt/format.h>

namespace ripcord {

std::string ledger_text(const std::string& id) {
  auto at = id.find('@');
  if (at == std::string::npos) return fmt::format("the ledger '{}'", id);
  return fmt::format("the ledger of machine '{}' (id {}…)", id.substr(at + 1), id.substr(0, std::min<std::size_t>(at, 12)));
}

}  // namespace ripcord

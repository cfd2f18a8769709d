// Users and groups by `getent` (a static program must not call getpwnam): "deploy", "deploy:www-data", "1000:1000".
#pragma once
#include <string>

#include "core/base/process.hpp"

namespace ripcord {

struct Account {
  std::string name, home;
  UserIds ids;
};
// HostFailure no_user: the user or group is not known on this host; nothing is created.
Account find_account(const std::string& owner);
Account own_account();  // of this process; without supplementary groups

}  // namespace ripcord

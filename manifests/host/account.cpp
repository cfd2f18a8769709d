#include "manifests/host/account.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <charconv>
#include <cstdlib>

#include "manifests/host/host_failure.hpp"

namespace ripcord {
namespace {

constexpr Millis kDeadline{10000};

std::vector<std::string> getent(const std::string& database, const std::string& key) {
  auto r = run_process({.argv = {"getent", "--", database, key}}, kDeadline, 65536);
  if (!r.ok()) return {};
  return split(trim(r.output), ':');
}

std::optional<unsigned> number(std::string_view text) {
  unsigned value = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || text.empty()) return std::nullopt;
  return value;
}

}  // namespace

Account find_account(const std::string& owner) {
  auto colon = owner.find(':');
  std::string user = owner.substr(0, colon), group = colon == std::string::npos ? "" : owner.substr(colon + 1);
  auto unknown = [](const char* what, const std::string& name) {
    return HostFailure("no_user", fmt::format("there is no {} '{}' on this host", what, name), "create it first; ripcord never does");
  };
  Account a;
  auto entry = getent("passwd", user);  // name:password:uid:gid:comment:home:shell
  auto uid = entry.size() >= 6 ? number(entry[2]) : number(user);
  auto gid = entry.size() >= 6 ? number(entry[3]) : uid;
  if (!uid || !gid) throw unknown("user", user);
  a.name = entry.size() >= 6 ? entry[0] : user;
  a.home = entry.size() >= 6 ? entry[5] : "/";
  a.ids.uid = *uid, a.ids.gid = *gid;
  if (!group.empty()) {
    auto found = getent("group", group);
    auto id = found.size() >= 3 ? number(found[2]) : number(group);
    if (!id) throw unknown("group", group);
    a.ids.gid = *id;
  }
  a.ids.groups = {a.ids.gid};
  auto r = run_process({.argv = {"getent", "--", "initgroups", a.name}}, kDeadline, 65536);  // "name  4 24 27"
  if (r.ok())
    for (auto word : split(trim(r.output), ' '))
      if (auto id = number(word); id && word != a.name && *id != a.ids.gid) a.ids.groups.push_back(*id);
  return a;
}

Account own_account() {
  Account a;
  const char* home = ::getenv("HOME");
  const char* name = ::getenv("USER");
  a.home = home ? home : "/";
  a.name = name ? name : std::to_string(::geteuid());
  a.ids.uid = ::geteuid(), a.ids.gid = ::getegid();
  return a;
}

}  // namespace ripcord

#include "core/net/ssh_identity.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>

#include "core/base/text.hpp"
#include "core/net/link.hpp"

namespace ripcord {
namespace {

using Keys = std::vector<std::shared_ptr<SshKey>>;
constexpr std::size_t kMostTried = 5;  // sshd hangs up after MaxAuthTries (6)

void add(Keys& keys, const std::shared_ptr<SshKey>& key) {
  auto same = [&](const auto& k) { return k->blob() == key->blob(); };
  if (keys.size() < kMostTried && std::none_of(keys.begin(), keys.end(), same)) keys.push_back(key);
}

std::shared_ptr<SshKey> with_blob(const Keys& keys, const std::string& blob) {
  auto found = std::find_if(keys.begin(), keys.end(), [&](const auto& k) { return k->blob() == blob; });
  return found == keys.end() ? nullptr : *found;
}

}  // namespace

const KeyRing::FromFile& KeyRing::file(const std::string& path) {
  auto known = files_.find(path);
  if (known != files_.end()) return known->second;
  FromFile& entry = files_[path];
  try {
    entry.file = read_ssh_key_file(path);
  } catch (const Error& e) {
    entry.problem = e.message();
    entry.hint = e.hint();
  }
  return entry;
}

Task<Keys> KeyRing::agent_keys(std::string socket, Elapsed deadline) {
  auto turn = co_await listing_.next();  // two hundred hosts ask at once: one list is enough
  if (!listed_.contains(socket)) {
    auto& agent = agents_[socket];
    if (!agent) agent = std::make_shared<SshAgent>(loop_, clock_, socket);
    auto keys = co_await agent->keys(deadline);
    listed_[socket] = std::move(keys);
  }
  co_return listed_[socket];
}

LinkError KeyRing::nothing_usable(const std::vector<std::string>& files, const std::string& agent_problem) {
  std::vector<std::string> problems;
  std::string hint;
  for (const auto& path : files) {
    const auto& f = file(path);
    if (!f.problem.empty()) {
      if (identity_.empty() && f.problem.find("ENOENT") != std::string::npos) continue;  // a default that is simply not there
      problems.push_back(f.problem);
      if (hint.empty()) hint = f.hint;
    } else if (!f.file.key) {
      problems.push_back(fmt::format("the key '{}' has a passphrase and no agent holds it", path));
      if (hint.empty()) hint = fmt::format("ssh-add {}", shell_quote(path));
    }
  }
  if (!agent_problem.empty()) problems.push_back(agent_problem);
  if (problems.empty()) problems.push_back("there is no key file and no agent");
  if (hint.empty()) hint = "set ssh: identity: in the fleet file, or load a key into an agent (ssh-add)";
  return LinkError(LinkFault::ours, "key_unreadable", "no key to log in with: " + join(problems, "; "), hint);
}

Task<Keys> KeyRing::keys_for(SshHostSettings settings, Elapsed deadline) {
  std::vector<std::string> paths = identity_.empty() ? settings.identity_files : std::vector<std::string>{identity_};
  // A plain key file that the fleet names needs no agent, so a dead agent cannot be in the way of a rollback.
  if (!identity_.empty() && file(identity_).file.key) co_return Keys{file(identity_).file.key};

  std::string socket = !agent_socket_.empty() ? agent_socket_ : settings.identity_agent;
  const char* from_environment = std::getenv("SSH_AUTH_SOCK");
  if (socket.empty() && from_environment) socket = from_environment;
  Keys agent;
  std::string agent_problem;
  if (!socket.empty() && socket != "none") try {
      agent = co_await agent_keys(socket, deadline);
    } catch (const Error& e) {
      agent_problem = e.message();
    }

  Keys keys;
  for (const auto& path : paths)
    if (auto key = with_blob(agent, file(path).file.public_blob)) add(keys, key);
  for (const auto& path : paths)
    if (file(path).file.key) add(keys, file(path).file.key);
  if (identity_.empty() && !settings.identities_only)
    for (const auto& key : agent) add(keys, key);
  if (keys.empty()) throw nothing_usable(paths, agent_problem);
  co_return keys;
}

}  // namespace ripcord

// A fleet of real OpenSSH servers on this machine, for tests: each with an address of its own on the loopback, its own host key,
// and private mount, pid and host name namespaces, so that every one looks like a separate host. Needs root.
//
// Private to a host: /srv /etc/app /root /tmp /var/tmp /var/lib/app /var/lib/ripcord, its boot id, and the user "deploy" (home
// /var/lib/app/deploy). Everything lies in folder(), except empty mount points. All of it goes with the object; when the
// test is killed the hosts die with it (PR_SET_PDEATHSIG) and the next fleet sweeps the folder.
#pragma once
#include <sys/types.h>

#include <string>
#include <vector>

#include "core/base/files.hpp"

namespace ripcord::test {

struct SshdFleetOptions {
  int hosts = 1;
  int datacenters = 3;
  std::vector<std::string> host_keys{"ed25519"};  // ed25519, ecdsa, rsa
  std::vector<std::string> sshd_config;           // lines that win over the fleet's own, for example "MaxSessions 1"
  std::string state_mount;                        // of /var/lib/ripcord: "", "noexec", "ro", "tiny" (a tmpfs of 64 KiB)
  std::string sudo = "nopasswd";                  // for deploy: nopasswd, password
};

class SshdFleet {
 public:
  explicit SshdFleet(SshdFleetOptions options = {});
  ~SshdFleet();
  SshdFleet(const SshdFleet&) = delete;
  SshdFleet& operator=(const SshdFleet&) = delete;

  // Hosts count from 1. Names are h1, h2 ...
  int size() const { return options_.hosts; }
  std::string name(int i) const;
  std::string address(int i) const;
  int port() const { return 2222; }
  const std::string& folder() const { return folder_; }
  std::string seen(int i, const std::string& path) const;   // where a private path of host i is from here
  std::string home(int i) const { return seen(i, "/root"); }  // root's, likewise
  std::string known_hosts() const { return folder_ + "/known_hosts"; }
  std::string fleet_yaml() const { return folder_ + "/fleet.yaml"; }
  // A user's private key that the hosts accept: ed25519, ecdsa, rsa, encrypted (its passphrase is "fleet"); unknown: one that
  // they do not accept. Made when first asked for.
  std::string identity(const std::string& kind = "ed25519");
  std::string host_key_line(int i, const std::string& kind = "ed25519") const;  // as in known_hosts

  void kill(int i);     // a power cut: SIGKILL to all of the host, its files stay
  void start(int i);    // boots it again with a new boot id
  void freeze(int i);   // SIGSTOP to everything on it: connections are accepted by the kernel, nobody answers
  void thaw(int i);
  pid_t init(int i) const { return hosts_.at(static_cast<std::size_t>(i - 1)); }  // its pid 1; 0 when it is not running
  std::vector<pid_t> processes(int i) const;  // all of its, with their numbers here
  int logins(int i) const;  // successful ones so far, by its sshd's log

 private:
  void choose_address();
  void make_files();
  void boot(int i);
  void wait_up(int i);
  void down();
  std::string host(int i, const std::string& path = {}) const;

  SshdFleetOptions options_;
  std::string folder_;
  Fd alive_;                     // locked as long as this lives: who finds the folder and gets the lock may remove it
  int octet_ = 0, claim_ = -1;   // 127.<octet>.x.y, ours as long as this socket is bound
  std::vector<pid_t> hosts_;
};

// A child's way to die with the test. For tests that start processes themselves; call it in the child.
void die_with_parent();

}  // namespace ripcord::test

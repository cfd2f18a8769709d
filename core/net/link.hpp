// A link carries bytes to a program on a host and back. It is given the program to push (digest, path) and where to put it;
// it knows nothing of what the program is. Two kinds: ssh (link_ssh.hpp) and local (link_local.hpp).
#pragma once
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "core/base/async.hpp"
#include "core/base/clock.hpp"
#include "core/base/digest.hpp"
#include "core/base/error.hpp"

namespace ripcord {

struct Program {
  Digest digest;
  std::string path;  // of the file to push, on this machine; by arch where several are at hand
};

// Where a host is and how to get in.
struct HostAddress {
  std::string name;                   // as people call it
  std::string address;                // what ssh would be given; local: unused
  int port = 0;                       // 0: from ssh_config, else 22
  std::string user;                   // "": from ssh_config, else the login name
  std::string become;                 // "" | "sudo"
  std::string state_dir;              // "": /var/lib/ripcord as root or with become, else $HOME/.local/state/ripcord
  std::string folder;                 // local: the folder that is the host's root
};

struct LinkTimeouts {
  Millis connect{10000}, handshake{15000}, auth{15000}, start{15000};
  Millis total() const { return connect + handshake + auth; }  // session establishment, for the dead-man's T
};

// Why a host could not be reached. `unreachable` counts against max_unreachable; `ours` is the controller's fault (no usable key,
// agent gone): the rollout pauses and no host is counted; `trust` stops hard for that host (exit 9); `host` means that the host
// answers but cannot run the program (no space, noexec, other architecture).
enum class LinkFault { unreachable, ours, trust, host };

class LinkError : public Error {
 public:
  // name: stable, for tests and JSON: settings, no_address, connect_refused, connect_timeout, no_route, jump_failed,
  // proxy_command, dropped (by sshd's MaxStartups), handshake_timeout, handshake_failed, auth_failed, auth_timeout, agent_gone,
  // key_unreadable, host_key_unknown, host_key_changed, host_key_revoked, exec_refused, sudo_needs_password, push_failed,
  // no_space, read_only, noexec, wrong_arch, noisy_shell, start_timeout, closed, corrupted, silent (docs/ssh.md)
  LinkError(LinkFault fault, std::string name, std::string what, std::string hint = {})
      : Error(std::move(what), std::move(hint), fault == LinkFault::trust ? Exit::integrity : Exit::unreachable),
        fault_(fault), name_(std::move(name)) {}
  LinkFault fault() const { return fault_; }
  const std::string& name() const { return name_; }

 private:
  LinkFault fault_;
  std::string name_;
};

// The program's standard input and output, just behind the preamble (wire.hpp). One reader and one writer coroutine at a time.
class Channel {
 public:
  virtual ~Channel() = default;  // closes at once, without waiting
  // Accepts all bytes (waiting while the window is full). Error (LinkError closed|silent) when the session is gone.
  virtual Task<> write(std::string bytes) = 0;
  // Whatever has come, at least one byte; "" at the end of the stream. Error (silent) when nothing at all came by `deadline`.
  virtual Task<std::string> read(Elapsed deadline) = 0;
  virtual void close() = 0;                          // wakes reader and writer with an Error
  virtual std::string error_tail() const = 0;        // the last 4 KiB of the program's standard error, raw
};

// What opening cost, for --timings and the benchmark.
struct LinkTimings {
  Millis connect{0}, handshake{0}, auth{0}, start{0};
  bool pushed = false;
};

class Link {
 public:
  virtual ~Link() = default;
  // Connects, authenticates, pushes the program if it is not there, starts `<program> serve`, sends `first` right behind the
  // preamble (saves a round trip) and returns when the preamble has been answered. Throws LinkError.
  virtual Task<std::unique_ptr<Channel>> open(HostAddress host, std::string first) = 0;
};

}  // namespace ripcord

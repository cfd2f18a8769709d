#include "core/net/bootstrap.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "core/base/files.hpp"
#include "core/base/text.hpp"
#include "core/base/wire.hpp"

namespace ripcord {
namespace {

constexpr std::uint64_t kProgramLimit = 64u << 20;

bool contains(std::string_view text, std::string_view part) { return text.find(part) != std::string_view::npos; }

std::string shown(std::string_view text) {
  text = trim(text);
  if (text.size() > 400) text.remove_prefix(text.size() - 400);
  return text.empty() ? "nothing was printed" : "it printed: " + escape_terminal(text);
}

}  // namespace

const std::string& ProgramImage::bytes() {
  if (bytes_) return *bytes_;
  try {
    auto bytes = read_file(program_.path, kProgramLimit);
    if (sha256(bytes) != program_.digest) throw Error(fmt::format("'{}' is no longer the file whose digest was taken", program_.path));
    bytes_ = std::move(bytes);
  } catch (const Error& e) {
    throw LinkError(LinkFault::ours, "push_failed", "cannot read the program for the hosts: " + e.message(),
                    "is ripcord being reinstalled just now? run the command again");
  }
  return *bytes_;
}

const std::string& ProgramImage::arch() {
  if (arch_) return *arch_;
  const auto& b = bytes();
  arch_ = "";
  if (b.size() < 20 || !b.starts_with("\x7f" "ELF")) return *arch_;
  bool little = b[5] == 1;
  unsigned machine = static_cast<unsigned char>(b[little ? 18 : 19]) | static_cast<unsigned>(static_cast<unsigned char>(b[little ? 19 : 18])) << 8;
  switch (machine) {  // e_machine, as uname -m says it
    case 62: arch_ = "x86_64"; break;
    case 183: arch_ = "aarch64"; break;
    case 243: arch_ = "riscv64"; break;
    case 21: arch_ = little ? "ppc64le" : "ppc64"; break;
    case 22: arch_ = "s390x"; break;
    default: arch_ = fmt::format("machine {}", machine);
  }
  return *arch_;
}

HelperPlace HelperPlace::of(const HostAddress& host, const std::string& user) {
  HelperPlace place;
  place.sudo = host.become == "sudo";
  place.state = user == "root" || place.sudo ? "/var/lib/ripcord" : "$HOME/.local/state/ripcord";
  if (host.state_dir.empty()) return place;
  auto allowed = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '/' || c == '_' || c == '.' || c == '-';
  };
  if (host.state_dir.front() != '/' || !std::all_of(host.state_dir.begin(), host.state_dir.end(), allowed))
    throw Error(fmt::format("state_dir '{}' of host '{}' is not an absolute path of letters, digits and / _ . -",
                            escape_terminal(host.state_dir), host.name),
                {}, Exit::invalid_file);
  place.state = host.state_dir;
  place.chosen = true;
  return place;
}

std::string HelperPlace::serve_command(const Digest& program) const {
  std::string path = state.starts_with("$HOME") ? "\"$HOME\"" + state.substr(5) : state;
  return fmt::format("exec {}{}/helper/{}/ripcord-host serve{}", sudo ? "sudo -n " : "", path, program.hex(), chosen ? " --state-dir " + state : "");
}

// One line, no single quote and no '!', so that csh and fish hand it to /bin/sh as it is. `cat` failing means that the bytes did
// not get there; running the file is what tells noexec from everything else.
std::string HelperPlace::push_command(const Digest& program, const std::string& word) const {
  return fmt::format(
      "exec {0}/bin/sh -c 'umask 077; LC_ALL=C; export LC_ALL; b=\"{1}/helper\"; t=\"$b/{2}.tmp-{3}\"; "
      "mkdir -p \"$b\" && mkdir \"$t\" || {{ echo \"RIPCORD-PUSH {3} mkdir $?\"; exit 1; }}; "
      "cat > \"$t/ripcord-host\" || {{ echo \"RIPCORD-PUSH {3} write $?\"; rm -rf \"$t\"; exit 1; }}; "
      "chmod 700 \"$t/ripcord-host\"; \"$t/ripcord-host\" install {2} < /dev/null; r=$?; "
      "rm -rf \"$t\"; echo \"RIPCORD-PUSH {3} run $r\"; exit $r'",
      sudo ? "sudo -n " : "", state, program.hex(), word);
}

Preamble::Preamble() : nonce_(random_hex(16)) {}

std::string Preamble::greeting() const { return std::string(kHelloToHost) + nonce_ + "\n"; }

bool Preamble::feed(std::string_view bytes) {
  std::string answer = std::string(kHelloFromHost) + nonce_ + "\n";
  std::size_t from = seen_.size() < answer.size() ? 0 : seen_.size() - answer.size();
  seen_.append(bytes);
  auto at = seen_.find(answer, from);
  if (at == std::string::npos) return false;
  found_ = true;
  rest_ = seen_.substr(at + answer.size());
  seen_.resize(at);
  return true;
}

LinkError explain_start(const std::string& who, const HelperPlace& place, std::string_view step, int status, std::string_view output,
                        std::string_view errors) {
  auto make = [&](LinkFault fault, const char* name, std::string what, std::string hint) {
    return LinkError(fault, name, fmt::format("cannot start the program on '{}': {}", who, what), std::move(hint));
  };
  std::string folder = place.state + "/helper";
  if (place.sudo && (contains(errors, "a password is required") || contains(errors, "a terminal is required")))
    return make(LinkFault::host, "sudo_needs_password", "sudo asks for a password",
                "give the user a NOPASSWD line in sudoers; docs/ssh.md has it");
  if (place.sudo && (contains(errors, "sudo: not found") || contains(errors, "sudo: command not found")))
    return make(LinkFault::host, "exec_refused", "sudo is not installed there", "install sudo, or log in as root without become: sudo");
  if (place.sudo && contains(errors, "is not allowed to execute"))
    return make(LinkFault::host, "sudo_needs_password", "sudo does not allow the command: " + shown(errors),
                "docs/ssh.md has the sudoers lines, and how to install the program by hand where first contact is not allowed either");
  if (contains(errors, "No space left on device"))
    return make(LinkFault::host, "no_space", fmt::format("no space for it in {}", folder), "free space or inodes there, or set state_dir:");
  if (contains(errors, "Read-only file system"))
    return make(LinkFault::host, "read_only", fmt::format("{} is on a read-only file system", folder), "remount it, or set state_dir: to a writable folder");
  if (contains(errors, "Exec format error") || contains(errors, "cannot execute binary file"))
    return make(LinkFault::host, "wrong_arch", "it is built for another architecture: " + shown(errors), "build ripcord-host for that architecture");
  if (step == "run" && (status == 126 || contains(errors, "Permission denied")))
    return make(LinkFault::host, "noexec", fmt::format("{} is mounted noexec, or a policy forbids running programs there", folder),
                "set state_dir: to a folder on a file system that allows programs");
  if (step.empty() && contains(fmt::format("{}{}", errors, output), "This account is currently not available"))
    return make(LinkFault::host, "exec_refused", "the user's login shell is nologin", "give the user a shell, or use another user");
  return make(LinkFault::host, "push_failed", step.empty() ? shown(errors.empty() ? output : errors) : fmt::format("step '{}' ended with {}, {}", step, status, shown(errors)),
              "a ForceCommand or command= in authorized_keys shows like this too; docs/ssh.md says what is needed");
}

}  // namespace ripcord

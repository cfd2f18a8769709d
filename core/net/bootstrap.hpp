// The program that is pushed to hosts, and the words that start it and bring it there. The words are constants but for a
// digest, a random word and a state folder of a strict character set: no shell ever sees data.
#pragma once
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/net/link.hpp"

namespace ripcord {

// One program file, read and checked against its digest when it is first needed.
class ProgramImage {
 public:
  explicit ProgramImage(Program program) : program_(std::move(program)) {}
  const Digest& digest() const { return program_.digest; }
  const std::string& bytes();   // LinkError push_failed (ours) when the file is gone or is not what its digest says
  const std::string& arch();    // as uname -m: x86_64, aarch64 ...; "" when it is no ELF file

 private:
  Program program_;
  std::optional<std::string> bytes_, arch_;
};

// Where the program lives on a host: root (or sudo), another user, or a folder of one's own choice.
struct HelperPlace {
  std::string state;            // as a shell reads it: "/var/lib/ripcord", "$HOME/.local/state/ripcord"
  bool sudo = false;
  bool chosen = false;          // by state_dir: the program must be told
  // Error when state_dir is not absolute or has other characters than [A-Za-z0-9/_.-].
  static HelperPlace of(const HostAddress& host, const std::string& user);

  std::string serve_command(const Digest& program) const;
  // A script for /bin/sh that reads the program on stdin into a folder of its own, runs it with `install <digest>` (which
  // verifies itself, makes itself durable and takes its final name) and prints "RIPCORD-PUSH <word> <step> <status>".
  std::string push_command(const Digest& program, const std::string& word) const;
};

// The program's preamble: "RIPCORD <nonce>\n" out, and back as "RIPCORD-HOST <nonce>\n" behind whatever a login shell printed.
class Preamble {
 public:
  Preamble();
  std::string greeting() const;
  // Feed what came; true once the answer was found: rest() is what follows it.
  bool feed(std::string_view bytes);
  bool too_noisy() const { return !found_ && seen_.size() > kLimit; }
  const std::string& seen() const { return seen_; }  // the noise
  std::string rest() { return std::move(rest_); }

 private:
  static constexpr std::size_t kLimit = 64 * 1024;
  std::string nonce_, seen_, rest_;
  bool found_ = false;
};

// Names what kept the program from starting or being pushed, from what shell, sudo and coreutils print (LC_ALL=C). It chooses
// words for people; what is done next never depends on it. step: "start", "mkdir", "write", "run", or "" when nothing was heard.
LinkError explain_start(const std::string& who, const HelperPlace& place, std::string_view step, int status, std::string_view output,
                        std::string_view errors);

}  // namespace ripcord

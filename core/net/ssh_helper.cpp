#include "core/net/ssh_helper.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "core/base/text.hpp"

namespace ripcord {
namespace {

constexpr std::size_t kPushChunk = 256 * 1024;
constexpr std::size_t kSlowest = 64 * 1024;      // bytes a second; a push slower than this is given up
constexpr Millis kInstall{30000};                // hashing and fsync of a few megabytes on a busy disk
constexpr std::size_t kHelperOutput = 64 * 1024;

// "RIPCORD-PUSH <word> <step> <status>" out of a script's output, wherever a noisy shell put it.
struct PushReport {
  std::string step;
  int status = -1;
};

PushReport find_report(std::string_view output, const std::string& word) {
  PushReport report;
  std::string mark = fmt::format("RIPCORD-PUSH {} ", word);
  auto at = output.find(mark);
  if (at == std::string_view::npos) return report;
  auto words = split(trim(output.substr(at + mark.size(), 40)), ' ');
  if (words.size() < 2) return report;
  report.step = words[0];
  auto number = words[1].substr(0, words[1].find('\n'));
  std::from_chars(number.data(), number.data() + number.size(), report.status);
  return report;
}

// Reads a script's output to its end; what it says so far when it takes too long or the connection is lost.
Task<std::string> read_to_end(std::shared_ptr<SshExec> exec, Elapsed deadline) {
  std::string output;
  while (output.size() < kHelperOutput) try {
      std::string more = co_await exec->read(deadline);
      if (more.empty()) break;
      output += more;
    } catch (const LinkError& e) {
      if (e.name() == "silent") break;
      throw;
    }
  co_return output;
}

}  // namespace

SshHelpers::SshHelpers(Clock& clock, std::vector<Program> programs, Millis start_timeout, Millis stall)
    : clock_(clock), start_timeout_(start_timeout), stall_(stall) {
  for (auto& p : programs) images_.push_back(std::make_unique<ProgramImage>(std::move(p)));
}

Task<SshHelpers::Attempt> SshHelpers::serve(std::shared_ptr<SshSession> session, HelperPlace place, Digest program, std::string first) {
  Elapsed deadline = clock_.elapsed() + start_timeout_;
  Attempt attempt;
  Preamble preamble;
  auto exec = co_await SshExec::start(session, place.serve_command(program), preamble.greeting() + first, deadline);
  while (true) {
    std::string bytes;
    std::string silent;
    try {
      bytes = co_await exec->read(deadline);
    } catch (const LinkError& e) {
      if (e.name() != "silent") throw;
      silent = e.message();
    }
    if (!silent.empty())
      throw LinkError(LinkFault::host, "start_timeout",
                      fmt::format("'{}' let us in, but the program did not answer within {}{}", session->who(), format_duration(start_timeout_),
                                  exec->error_tail().empty() ? "" : "; it printed: " + escape_terminal(trim(exec->error_tail()))),
                      "a start-up file of the login shell may wait for input, or a ForceCommand runs something else");
    if (bytes.empty()) break;
    if (preamble.feed(bytes)) {
      attempt.answered = true;
      attempt.helper.exec = exec;
      attempt.helper.rest = preamble.rest();
      co_return attempt;
    }
    if (preamble.too_noisy())
      throw LinkError(LinkFault::host, "noisy_shell", fmt::format("the login shell of '{}' printed more than 64 KiB before the program started", session->who()),
                      "make its start-up files silent for sessions without a terminal");
  }
  co_await exec->finish(deadline);
  attempt.status = exec->exit_status();
  attempt.output = preamble.seen();
  attempt.errors = exec->error_tail();
  co_return attempt;
}

Task<std::string> SshHelpers::ask_arch(std::shared_ptr<SshSession> session) {
  Elapsed deadline = clock_.elapsed() + start_timeout_;
  std::string mark = fmt::format("RIPCORD-ARCH {} ", random_hex(8));  // a noisy shell may say anything before it
  std::string command = fmt::format("exec /bin/sh -c 'echo \"{}$(uname -m)\"'", mark);
  auto exec = co_await SshExec::start(session, command, "", deadline);
  std::string output = co_await read_to_end(exec, deadline);
  co_await exec->finish(deadline);
  auto at = output.find(mark);
  std::string arch(at == std::string::npos ? "" : trim(output.substr(at + mark.size())));
  auto plain = [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_'; };
  if (arch.empty() || !std::all_of(arch.begin(), arch.end(), plain))
    throw LinkError(LinkFault::host, "exec_refused",
                    fmt::format("'{}' lets the user log in, but runs something else than what it is asked to: {}", session->who(),
                                escape_terminal(trim(output + exec->error_tail()).substr(0, 300))),
                    "a ForceCommand, a command= in authorized_keys or a nologin shell does that; docs/ssh.md says what is needed");
  co_return arch;
}

ProgramImage* SshHelpers::for_arch(const std::string& who, const std::string& arch) {
  std::vector<std::string> have;
  for (auto& image : images_) {
    if (image->arch().empty() || image->arch() == arch) return image.get();
    have.push_back(image->arch());
  }
  throw LinkError(LinkFault::host, "wrong_arch",
                  fmt::format("'{}' is {}, and there is a program for {} only", who, escape_terminal(arch.substr(0, 40)), join(have, ", ")),
                  "build ripcord-host for that architecture and put it beside the other");
}

Task<> SshHelpers::push(std::shared_ptr<SshSession> session, HelperPlace place, ProgramImage* image) {
  const std::string& bytes = image->bytes();
  std::string word = random_hex(8);
  Elapsed deadline = clock_.elapsed() + start_timeout_ + kInstall + Millis(bytes.size() * 1000 / kSlowest);
  auto exec = co_await SshExec::start(session, place.push_command(image->digest(), word), "", clock_.elapsed() + start_timeout_);
  bool reading = true;
  for (std::size_t at = 0; reading && at < bytes.size() && clock_.elapsed() < deadline; at += kPushChunk)
    reading = co_await exec->feed(bytes.substr(at, kPushChunk), stall_);
  if (reading) co_await exec->end_of_input(deadline);
  std::string output = co_await read_to_end(exec, deadline);
  co_await exec->finish(clock_.elapsed() + start_timeout_);
  auto report = find_report(output, word);
  bool installed = report.step == "run" && report.status == 0 && output.find("installed") != std::string::npos;
  if (!installed) throw explain_start(session->who(), place, report.step, report.status, output, exec->error_tail());
}

Task<StartedHelper> SshHelpers::start(std::shared_ptr<SshSession> session, HelperPlace place, std::string first) {
  auto& chosen = by_host_[session->who()];
  if (!chosen) chosen = images_.front().get();
  ProgramImage* image = chosen;
  auto attempt = co_await serve(session, place, image->digest(), first);
  if (attempt.answered) co_return std::move(attempt.helper);

  // Something else ran and ended. Mostly the program is not there; the push finds out what else it may be.
  std::string arch = co_await ask_arch(session);
  image = for_arch(session->who(), arch);
  bool other = image != by_host_[session->who()];
  by_host_[session->who()] = image;
  bool pushed = false;
  if (other) attempt = co_await serve(session, place, image->digest(), first);
  if (!attempt.answered) {
    co_await push(session, place, image);
    pushed = true;
    attempt = co_await serve(session, place, image->digest(), first);
  }
  if (!attempt.answered) throw explain_start(session->who(), place, "start", attempt.status, attempt.output, attempt.errors);
  attempt.helper.pushed = pushed;
  co_return std::move(attempt.helper);
}

}  // namespace ripcord

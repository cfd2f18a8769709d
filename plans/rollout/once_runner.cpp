#include "plans/rollout/once_runner.hpp"

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>

#include "core/base/error.hpp"
#include "core/base/files.hpp"
#include "core/base/process.hpp"

extern char** environ;

namespace ripcord {
namespace {

constexpr Millis kLook{50};
constexpr std::size_t kKept = 8192;  // bytes of output

std::string tail_of(int fd) {
  off_t end = ::lseek(fd, 0, SEEK_END);
  if (end <= 0) return "";
  std::string text(std::min<std::size_t>(kKept, static_cast<std::size_t>(end)), '\0');
  ssize_t n = ::pread(fd, text.data(), text.size(), end - static_cast<off_t>(text.size()));
  text.resize(n > 0 ? static_cast<std::size_t>(n) : 0);
  return text;
}

class Runner : public OnceRunner {
 public:
  Runner(Clock& clock, std::string folder) : clock_(clock), folder_(std::move(folder)) {}

  Task<OnceOutcome> run(std::vector<std::string> argv, std::map<std::string, std::string> environment, Millis deadline) override {
    OnceOutcome out;
    Fd output(::memfd_create("ripcord-once", MFD_CLOEXEC));
    if (!output) throw os_error("make a file for the output of", argv[0], errno);
    Command command;
    command.argv = argv;
    command.cwd = folder_;
    command.env.emplace();
    for (char** e = environ; *e; ++e) command.env->push_back(*e);
    for (const auto& [name, value] : environment) command.env->push_back(name + "=" + value);
    ProcessId id;
    try {
      id = start_detached(command, output.get());
    } catch (const Error& e) {
      out.kind = OnceOutcome::Kind::failed;  // nothing was started: that much is known
      out.text = e.what();
      co_return out;
    }
    const Elapsed until = clock_.elapsed() + deadline;
    std::optional<ProcessEnd> end;
    while (!(end = reap(id.pid))) {
      if (clock_.elapsed() >= until) break;
      co_await sleep_until(clock_, clock_.elapsed() + kLook);
    }
    if (!end) {
      signal_group(id.pid, SIGKILL, true);
      out.text = "it did not end within " + format_duration(deadline) + " and was killed";
      out.output = tail_of(output.get());
      for (int i = 0; i < 100 && !reap(id.pid); ++i) co_await sleep_until(clock_, clock_.elapsed() + kLook);
      co_return out;
    }
    // Killed by somebody: how far it had come nobody knows.
    out.kind = end->signal != 0 ? OnceOutcome::Kind::unknown : end->exit == 0 ? OnceOutcome::Kind::done : OnceOutcome::Kind::failed;
    out.text = end->text();
    out.output = tail_of(output.get());
    co_return out;
  }

 private:
  Clock& clock_;
  std::string folder_;
};

}  // namespace

std::unique_ptr<OnceRunner> make_once_runner(Clock& clock, std::string folder) { return std::make_unique<Runner>(clock, std::move(folder)); }

}  // namespace ripcord

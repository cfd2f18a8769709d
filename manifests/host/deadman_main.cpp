#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <cstdio>
#include <map>

#include "manifests/host/activation.hpp"
#include "manifests/host/pending.hpp"
#include "manifests/host/revert.hpp"

namespace ripcord {
namespace {

constexpr Millis kLook{1000};          // how often it looks whether it is still wanted
constexpr Millis kGiveUp{900000};      // of trying to go back; the next session's recover() goes on

struct Waiting {
  HostContext host;
  UnitLayout unit;
  std::string op;
  bool at_once = false;  // started by the init system at the deadline
};

Waiting parse(const std::vector<std::string>& args) {
  std::map<std::string, std::string> given;
  bool now = false;
  for (std::size_t i = 0; i < args.size(); ++i) {
    if (args[i] == "--now") now = true;
    else if (i + 1 < args.size()) given[args[i]] = args[i + 1], ++i;
    else throw Error(fmt::format("deadman: '{}' needs a value", args[i]));
  }
  for (const char* key : {"--state-dir", "--unit", "--unit-root", "--op"})
    if (given[key].empty()) throw Error(fmt::format("deadman: '{}' is missing", key), "this is started by ripcord-host itself", Exit::usage);
  Waiting w{HostContext::of_this_host(Layout::choose(given["--root"], given["--state-dir"])), {}, given["--op"], now};
  w.unit = w.host.layout.unit({given["--unit"], given["--unit-root"]});
  return w;
}

// The record of this operation, if it is still armed. Unreadable counts as armed: better one look at the journal too many.
bool still_armed(const Waiting& w, std::optional<Pending>& pending) {
  try {
    auto found = read_pending(w.unit);
    if (!found || found->op != w.op) return false;
    pending = found;
  } catch (const Error&) {
  }
  return true;
}

// Everything that an init system, a terminal or a tidy person sends; only SIGKILL ends it. Output goes nowhere: the session that
// started it is long gone.
void settle() {
  for (int s = 1; s < NSIG; ++s)
    if (s != SIGKILL && s != SIGSTOP && s != SIGCHLD && s != SIGSEGV && s != SIGBUS && s != SIGABRT && s != SIGFPE && s != SIGILL)
      ::signal(s, SIG_IGN);
  Fd null(::open("/dev/null", O_RDWR | O_CLOEXEC));
  if (!null) return;
  for (int fd : {0, 1, 2}) ::dup2(null.get(), fd);
}

// True when the deadline came, false when nobody needs it any more.
bool wait_for_deadline(const Waiting& w, std::optional<Pending>& pending, int timer) {
  while (true) {
    pollfd p{timer, POLLIN, 0};
    ::poll(&p, 1, static_cast<int>(kLook.count()));
    if (!still_armed(w, pending)) return false;
    if (pending->overdue(w.host)) return true;
  }
}

int act(Waiting& w) {
  RevertProgress progress;
  for (Elapsed end = boot_now() + kGiveUp; boot_now() < end;) {
    try {
      UnitLock lock(w.host, w.unit, "dead-man of " + w.op, Millis(2000));
      std::optional<Pending> pending;
      if (!still_armed(w, pending)) return 0;  // confirmed in the last moment
      std::string why = pending && pending->boot != w.host.boot_id ? "the host was restarted before it was confirmed"
                                                                    : "not confirmed by its deadline";
      revert(w.host, w.unit, lock, w.op, why, &progress);
      return 0;
    } catch (const HostFailure& e) {
      if (e.code() == "busy") continue;
    } catch (const std::exception&) {  // whatever it was: going back is tried again until it is done
    }
    ::usleep(500000);
  }
  return 1;
}

}  // namespace

int deadman_main(const std::vector<std::string>& args) {
  try {
    Waiting w = parse(args);
    std::optional<Pending> pending;
    if (!still_armed(w, pending)) throw Error(fmt::format("operation '{}' of unit '{}' is not armed", w.op, w.unit.unit));
    if (!pending) pending = read_pending(w.unit);  // says what is wrong with it
    Fd timer(::timerfd_create(CLOCK_BOOTTIME, TFD_CLOEXEC | TFD_NONBLOCK));
    if (!timer) throw os_error("create", "a timer", errno);
    itimerspec when{};
    when.it_value.tv_sec = pending->deadline.us / 1000000;
    when.it_value.tv_nsec = pending->deadline.us % 1000000 * 1000 + 1;
    if (::timerfd_settime(timer.get(), TFD_TIMER_ABSTIME, &when, nullptr) != 0) throw os_error("set", "a timer", errno);
    if (!w.at_once) write_all(1, "armed\n", "the acknowledgement");
    settle();
    return wait_for_deadline(w, pending, timer.get()) ? act(w) : 0;
  } catch (const Error& e) {
    std::fprintf(stdout, "%s\n", e.what());
    std::fflush(stdout);
    return static_cast<int>(e.exit());
  }
}

}  // namespace ripcord

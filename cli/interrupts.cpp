#include "cli/interrupts.hpp"

#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include "cli/view/view.hpp"
#include "core/base/files.hpp"

namespace ripcord::cli {
namespace {

constexpr int kSignals[] = {SIGINT, SIGTERM, SIGHUP};
volatile sig_atomic_t first_signal = 0;
volatile sig_atomic_t wake_fd = -1;

void on_signal(int number) {
  if (first_signal != 0) {
    restore_cursor();
    ::_exit(128 + number);
  }
  first_signal = number;
  char byte = 1;
  [[maybe_unused]] auto n = ::write(wake_fd, &byte, 1);
}

}  // namespace

struct Interrupts::State {
  State(Loop& loop, Clock& c, std::function<void(int)> f, Fd read_end, Fd write_end)
      : clock(c), first(std::move(f)), in(std::move(read_end)), out(std::move(write_end)), watch(loop, in.get()) {}
  Clock& clock;
  std::function<void(int)> first;
  Fd in, out;
  FdWatch watch;
  bool over = false;
  struct sigaction before[3]{};

  static Task<> listen(std::shared_ptr<State> self) {
    while (!self->over && first_signal == 0) co_await self->watch.wait(true, false, self->clock, self->clock.elapsed() + Millis(3600000));
    if (!self->over && self->first) self->first(first_signal);
  }
};

Interrupts::Interrupts(Loop& loop, Clock& clock, std::function<void(int)> first) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC | O_NONBLOCK) != 0) throw os_error("make", "a pipe for signals", errno);
  state_ = std::make_shared<State>(loop, clock, std::move(first), Fd(ends[0]), Fd(ends[1]));
  first_signal = 0;
  wake_fd = ends[1];
  struct sigaction action {};
  action.sa_handler = on_signal;
  action.sa_flags = SA_RESTART;
  for (int i = 0; i < 3; ++i) {
    ::sigaction(kSignals[i], nullptr, &state_->before[i]);
    if (state_->before[i].sa_handler != SIG_IGN) ::sigaction(kSignals[i], &action, nullptr);  // nohup stays nohup
  }
  spawn(loop, State::listen(state_));
}

Interrupts::~Interrupts() {
  for (int i = 0; i < 3; ++i) ::sigaction(kSignals[i], &state_->before[i], nullptr);
  state_->over = true;
  state_->first = nullptr;
  state_->watch.cancel();
}

int Interrupts::caught() const { return first_signal; }

std::string signal_name(int signal) {
  return signal == SIGINT ? "Ctrl-C" : signal == SIGTERM ? "SIGTERM" : signal == SIGHUP ? "SIGHUP" : "a signal";
}

}  // namespace ripcord::cli

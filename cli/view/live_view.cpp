#include <fmt/format.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <ostream>

#include "cli/view/tree.hpp"
#include "cli/view/view.hpp"

namespace ripcord::cli {
namespace {

volatile sig_atomic_t cursor_hidden = 0;

struct Size {
  std::size_t width = 80, height = 24;
};

Size terminal_size() {
  winsize w{};
  if (::ioctl(STDOUT_FILENO, TIOCGWINSZ, &w) != 0 || w.ws_col < 20 || w.ws_row < 5) return {};
  return {w.ws_col, w.ws_row};
}

class LiveView : public View {
 public:
  LiveView(Output& out, Clock& clock) : out_(out), clock_(clock) {}
  ~LiveView() override {
    if (timer_) clock_.cancel(timer_);
    show_cursor();
  }

  void show(const RolloutState& found) override {
    state_ = &found;
    draw();
    state_ = nullptr;  // the caller may move it away
  }

  void on_entry(const LedgerEntry& entry, const RolloutState& state) override {
    auto kind = get_string_or(entry.body, "kind", "");
    if (kind.starts_with("host.") && kind != "host.intent") steps_.erase(get_string_or(entry.body, "host", ""));
    changed(state);
  }

  void on_step(const std::string& host, const std::string& step) override {
    steps_[host] = step;
    if (state_) changed(*state_);
  }

  void on_waiting(const Decision&) override {
    if (state_) changed(*state_);
  }

  void finish(const RolloutState& state, const Runner& runner, Exit, WallTime now) override {
    steps_.clear();
    state_ = &state;
    draw();
    state_ = nullptr;
    if (timer_) clock_.cancel(timer_);
    timer_ = 0;
    show_cursor();
    out_.print("");
    print_next_steps(out_, next_steps(state, runner, now));
  }

 private:
  static constexpr Millis kPause{100};

  void changed(const RolloutState& state) {
    state_ = &state;
    if (timer_) return;
    auto due = last_ + kPause;
    if (clock_.elapsed() >= due) return draw();
    timer_ = clock_.at(due, [this] {
      timer_ = 0;
      if (state_) draw();
    });
  }

  void draw() {
    auto size = terminal_size();
    TreeOptions options;
    options.width = size.width - 1;  // the last column wraps on some terminals
    options.max_lines = size.height - 2;
    options.style = out_.style;
    options.steps = steps_;
    auto lines = tree_lines(*state_, clock_.wall(), options);
    std::string frame;
    if (!cursor_hidden) {
      frame += "\x1b[?25l";
      cursor_hidden = 1;
    }
    if (drawn_ > 0) frame += fmt::format("\x1b[{}A", std::min(drawn_, size.height - 1));
    frame += '\r';
    for (const auto& line : lines) frame += line + "\x1b[K\n";
    frame += "\x1b[J";
    out_.raw() << frame << std::flush;
    drawn_ = lines.size();
    last_ = clock_.elapsed();
  }

  void show_cursor() {
    if (!cursor_hidden) return;
    cursor_hidden = 0;
    out_.raw() << "\x1b[?25h" << std::flush;
  }

  Output& out_;
  Clock& clock_;
  const RolloutState* state_ = nullptr;  // the caller's; valid until finish
  std::map<std::string, std::string> steps_;
  Clock::TimerId timer_ = 0;
  Elapsed last_{0};
  std::size_t drawn_ = 0;
};

}  // namespace

std::unique_ptr<View> make_live_view(Output& out, Clock& clock) { return std::make_unique<LiveView>(out, clock); }

void restore_cursor() {
  if (!cursor_hidden) return;
  static const char show[] = "\x1b[?25h\n";
  [[maybe_unused]] auto n = ::write(STDOUT_FILENO, show, sizeof show - 1);
}

}  // namespace ripcord::cli

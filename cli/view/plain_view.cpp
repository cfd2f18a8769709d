#include <fmt/format.h>

#include "cli/view/view.hpp"

namespace ripcord::cli {
namespace {

class PlainView : public View {
 public:
  PlainView(Output& out, Clock& clock) : out_(out), clock_(clock) {}

  void show(const RolloutState& found) override {
    auto now = clock_.wall();
    auto v = verdict(found, now);
    line(now, {v.text, v.tone});
  }

  void on_entry(const LedgerEntry& entry, const RolloutState& state) override {
    if (auto event = describe(entry, state)) line(parse_utc(get_string(entry.body, "time")), *event);
  }

  void on_waiting(const Decision& d) override {
    if (d.waiting == Waiting::window || d.waiting == Waiting::approval || d.silence) line(clock_.wall(), {"waiting: " + d.why, Tone::warn});
  }

  void finish(const RolloutState& state, const Runner& runner, Exit, WallTime now) override {
    auto v = verdict(state, now);
    out_.print(Line().add(v.text, v.tone).render(out_.style));
    print_next_steps(out_, next_steps(state, runner, now));
  }

 private:
  void line(WallTime at, const Event& event) {
    if (out_.quiet) return;
    out_.print(Line().add(time_of_day(at) + " ", Tone::dim).add(event.text, event.tone).render(out_.style));
  }
  Output& out_;
  Clock& clock_;
};

}  // namespace

std::unique_ptr<View> make_plain_view(Output& out, Clock& clock) { return std::make_unique<PlainView>(out, clock); }

std::unique_ptr<View> make_view(Output& out, Clock& clock) {
  if (out.format == Format::json) return make_json_view(out);
  if (out.format == Format::jsonl) return make_jsonl_view(out);
  return out.out_tty() && !out.quiet ? make_live_view(out, clock) : make_plain_view(out, clock);
}

void print_next_steps(Output& out, const std::vector<NextStep>& steps) {
  for (const auto& step : steps) out.note(fmt::format("  next: {} {}  ({})", out.program, step.command, step.what));
}

}  // namespace ripcord::cli

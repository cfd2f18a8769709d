#include "cli/view/tree.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace ripcord::cli {
namespace {

enum class Detail { counts, runs, hosts };

constexpr HostPhase kInTrouble[] = {HostPhase::stuck, HostPhase::failed, HostPhase::unknown, HostPhase::unreachable};
constexpr HostPhase kOthers[] = {HostPhase::returning, HostPhase::returned, HostPhase::activating,
                                 HostPhase::staged,    HostPhase::waiting,  HostPhase::confirmed};

const char* sign_of(HostPhase phase, bool unicode) {
  switch (phase) {
    case HostPhase::confirmed: return unicode ? "✓" : "+";
    case HostPhase::failed:
    case HostPhase::stuck: return unicode ? "✗" : "x";
    case HostPhase::unreachable:
    case HostPhase::unknown: return "?";
    case HostPhase::returning:
    case HostPhase::returned: return unicode ? "↩" : "<";
    case HostPhase::activating: return unicode ? "▸" : ">";
    default: return unicode ? "·" : ".";
  }
}

struct Painter {
  const RolloutState& state;
  WallTime now;
  const TreeOptions& options;
  std::vector<std::string> lines{};
  std::size_t stage_width = 0, host_width = 0;

  void put(const Line& line) { lines.push_back(line.render(options.style, options.width)); }

  std::string stage_word(int i, Tone& tone) const {
    const auto& st = state.stages()[static_cast<std::size_t>(i)];
    const auto& spec = state.spec().stages[static_cast<std::size_t>(i)];
    bool over = state.ending != Ending::open;
    tone = Tone::dim;
    if (st.passed) return tone = Tone::good, "passed";
    if (state.rolling_back || over) {
      bool touched = st.started;
      return touched ? (tone = Tone::warn, over ? "stopped" : "going back") : "not started";
    }
    bool current = i == state.current_stage();
    if (current) tone = Tone::active;
    if (st.baking) return "baking until " + short_time(st.bake_from + spec.bake, now);
    if (!st.started && current && spec.approval && !st.approved) return tone = Tone::warn, "waits for approval";
    if (current && state.paused) return tone = Tone::warn, "paused";
    if (!st.started) return std::string("waiting") + (spec.approval ? ", needs approval" : "");
    return st.in(HostPhase::waiting) > 0 ? "staging" : "activating";
  }

  void stage(int i, Detail detail) {
    const auto& st = state.stages()[static_cast<std::size_t>(i)];
    Tone tone = Tone::plain;
    auto word = stage_word(i, tone);
    Line head;
    head.add("  ").cell(state.spec().stages[static_cast<std::size_t>(i)].name, stage_width + 2, Tone::bold);
    head.cell(fmt::format("{}/{}", st.in(HostPhase::confirmed), st.total), 9).add(word, tone);
    if (detail == Detail::counts) {
      std::string counts;
      for (auto p : kInTrouble)
        if (st.in(p)) counts += fmt::format(", {} {}", st.in(p), to_text(p));
      for (auto p : {HostPhase::returning, HostPhase::returned, HostPhase::activating})
        if (st.in(p)) counts += fmt::format(", {} {}", st.in(p), to_text(p));
      head.add(counts);
    }
    put(head);
    if (detail == Detail::hosts) {
      const auto& hosts = state.spec().hosts;
      for (std::size_t h = 0; h < hosts.size(); ++h)
        if (hosts[h].stage == i) host(static_cast<int>(h));
    } else if (detail == Detail::runs) {
      for (auto p : kInTrouble)
        for (const auto& name : hosts_in(state, p, i)) host(state.index(name));
      for (auto p : kOthers) {
        auto names = hosts_in(state, p, i);
        if (names.empty()) continue;
        Line line;
        line.add("    ")
            .add(sign_of(p, options.style.unicode), tone_of(p))
            .add(fmt::format(" {} {}: ", names.size(), to_text(p)), tone_of(p))
            .add(compress_hosts(names));
        put(line);
      }
    }
  }

  void host(int i) {
    const auto& plan = state.spec().hosts[static_cast<std::size_t>(i)];
    const auto& h = state.hosts()[static_cast<std::size_t>(i)];
    Line line;
    line.add("    ").add(sign_of(h.phase, options.style.unicode), tone_of(h.phase)).add(" ");
    line.cell(plan.name, host_width + 2);
    std::string word(to_text(h.phase));
    if (h.phase == HostPhase::confirmed && plan.unchanged) word = "already ran " + plan.to.version;
    if (h.phase == HostPhase::returned) word = "returned to " + (plan.from ? plan.from->version : "nothing");
    if (h.phase == HostPhase::returning && h.rehearsing) word = "rehearsing the way back";
    if (h.phase == HostPhase::staged && h.walked) word = "back on " + (plan.from ? plan.from->version : "nothing") + ", verified; forward again next";
    if (auto step = options.steps.find(plan.name);
        step != options.steps.end() &&
        (h.phase == HostPhase::activating || h.phase == HostPhase::waiting || h.phase == HostPhase::returning))
      word += " (" + step->second + ")";
    line.add(word, tone_of(h.phase));
    if (!h.reason.empty() && h.phase != HostPhase::confirmed) line.add(": " + h.reason);
    if (!h.drained.empty()) line.add("; not back in service: " + h.drained, Tone::warn);
    put(line);
  }

  std::size_t size_of(int i, Detail detail) const {
    const auto& st = state.stages()[static_cast<std::size_t>(i)];
    if (detail == Detail::counts) return 1;
    if (detail == Detail::hosts) return 1 + static_cast<std::size_t>(st.total);
    std::size_t n = 1;
    for (auto p : kInTrouble) n += static_cast<std::size_t>(st.in(p));
    for (auto p : kOthers) n += st.in(p) > 0;
    return n;
  }

  void paint() {
    const int stages = static_cast<int>(state.stages().size());
    for (const auto& s : state.spec().stages) stage_width = std::max(stage_width, columns(s.name));
    for (const auto& h : state.spec().hosts) host_width = std::max(host_width, columns(h.name));
    std::vector<Detail> details(static_cast<std::size_t>(stages), Detail::hosts);
    auto total = [&] {
      std::size_t n = 2;
      for (int i = 0; i < stages; ++i) n += size_of(i, details[static_cast<std::size_t>(i)]);
      return n;
    };
    if (options.max_lines == 0) {
      for (int i = 0; i < stages; ++i)
        if (state.stages()[static_cast<std::size_t>(i)].total > 16) details[static_cast<std::size_t>(i)] = Detail::runs;
    } else {
      // What matters least gives way first: stages that have not begun, then those that passed, the current one last.
      std::vector<int> order;
      const int now_at = state.current_stage();
      for (int i = stages - 1; i > now_at; --i) order.push_back(i);
      for (int i = 0; i < std::min(now_at, stages); ++i) order.push_back(i);
      if (now_at < stages) order.push_back(now_at);
      for (auto detail : {Detail::runs, Detail::counts})
        for (int i : order)
          if (total() > options.max_lines) details[static_cast<std::size_t>(i)] = detail;
    }
    auto v = verdict(state, now);
    put(Line().add(v.text, v.tone));
    lines.push_back("");
    for (int i = 0; i < stages; ++i) stage(i, details[static_cast<std::size_t>(i)]);
    if (options.max_lines > 0 && lines.size() > options.max_lines) lines.resize(options.max_lines);
  }
};

}  // namespace

std::vector<std::string> tree_lines(const RolloutState& state, WallTime now, const TreeOptions& options) {
  Painter painter{state, now, options};
  painter.paint();
  return std::move(painter.lines);
}

}  // namespace ripcord::cli

#include "cli/view/plan_words.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "cli/view/words.hpp"

namespace ripcord::cli {
namespace {

std::string ordinal(int n) {
  int last = n % 10, tens = n / 10 % 10;
  const char* end = tens == 1 ? "th" : last == 1 ? "st" : last == 2 ? "nd" : last == 3 ? "rd" : "th";
  return fmt::format("{}{}", n, end);
}

std::vector<std::string> hosts_of_stage(const RolloutSpec& spec, std::size_t stage) {
  std::vector<std::string> names;
  for (const auto& h : spec.hosts)
    if (static_cast<std::size_t>(h.stage) == stage) names.push_back(h.name);
  return names;
}

std::string stage_rules(const StageSpec& s, std::size_t hosts) {
  std::string out;
  if (hosts > 1)
    out = fmt::format("{} at once{}", std::min<int>(s.max_parallel, static_cast<int>(hosts)),
                      s.slow_start && s.max_parallel > 1 ? ", starting slowly" : "");
  if (s.max_unavailable > 0 && hosts > 1) out += fmt::format(", at most {} of a domain down", s.max_unavailable);
  if (s.approval) out += std::string(out.empty() ? "" : ", ") + "needs approval";
  if (s.bake.count() > 0) out += std::string(out.empty() ? "" : ", ") + "then bakes " + format_duration(s.bake);
  return out;
}

std::size_t changing(const RolloutSpec& spec) {
  return static_cast<std::size_t>(std::count_if(spec.hosts.begin(), spec.hosts.end(), [](const HostPlan& h) { return !h.unchanged; }));
}

std::string window_words(const RolloutSpec& spec, WallTime now) {
  if (!spec.window) return "any time";
  auto text = spec.window->text();
  if (spec.outside_window) return text + ", not waited for (--outside-window)";
  return text + (spec.window->open(now) ? ", open now" : ", opens " + short_time(spec.window->next_open(now), now));
}

std::string way_back_words(const WayBack& w, Millis valid, WallTime now) {
  auto head = fmt::format("to {} ({}): ", w.from.version, count_of(w.hosts, "host"));
  if (w.waived) return head + "UNPROVEN, and nobody walks it (--unproven)";
  if (w.proof)
    return head + fmt::format("proven on {} at {}, back in {}; holds until {}", w.proof->host, short_time(w.proof->at, now),
                              format_duration(w.proof->back), short_time(w.proof->at + valid, now));
  return head + fmt::format("rehearsed on {}, forward, back and forward again, before any other host", w.rehearsed_on);
}

}  // namespace

std::string budget_words(const RolloutSpec& spec) {
  return fmt::format("stops at the {} failed host; {} of {} may be unreachable", ordinal(spec.max_failures), spec.max_unreachable,
                     spec.hosts.size());
}

std::string plan_in_short(const Preflight& p) {
  return fmt::format("{}@{} to {} of fleet {} in {}", p.spec.unit, p.spec.version, count_of(p.spec.hosts.size(), "host"), p.spec.fleet,
                     count_of(p.spec.stages.size(), "stage"));
}

std::vector<std::string> plan_lines(const Preflight& p, const std::string& plan_name, WallTime now, const Style& style) {
  const auto& spec = p.spec;
  std::vector<std::string> out;
  auto put = [&](const Line& line) { out.push_back(line.render(style)); };
  auto field = [&](const char* name, const std::string& value, Tone tone = Tone::plain) {
    put(Line().cell(name, 12, Tone::dim).add(value, tone));
  };

  put(Line().add(plan_in_short(p), Tone::bold).add(spec.hotfix ? "  (hotfix)" : "", Tone::warn));
  out.push_back("");
  std::size_t names = 5;
  for (const auto& s : spec.stages) names = std::max(names, columns(s.name));
  for (std::size_t i = 0; i < spec.stages.size(); ++i) {
    auto hosts = hosts_of_stage(spec, i);
    put(Line()
            .add("  ")
            .cell(spec.stages[i].name, names + 2, Tone::bold)
            .cell(count_of(hosts.size(), "host"), 11)
            .add(stage_rules(spec.stages[i], hosts.size())));
    put(Line().add("  ").cell("", names + 2).add(compress_hosts(hosts), Tone::dim));
  }
  out.push_back("");
  for (const auto& g : p.groups) {
    std::string files =
        g.files_added + g.files_changed + g.files_removed == 0
            ? "no file differs"
            : fmt::format("{} changed, {} added, {} removed", count_of(g.files_changed, "file"), g.files_added, g.files_removed);
    put(Line().add(fmt::format("{} -> {}", g.from, g.to), Tone::active).add(" on " + count_of(g.hosts.size(), "host")));
    put(Line().add(fmt::format("  {}; at most {} to each; restarts {}", files, format_size(g.bytes),
                               g.restarts.empty() ? "nothing" : join(g.restarts, ", "))));
    put(Line().add("  " + compress_hosts(g.hosts), Tone::dim));
  }
  std::vector<std::string> unchanged, away;
  for (const auto& h : spec.hosts) {
    if (h.unchanged) unchanged.push_back(h.name);
    if (h.away) away.push_back(h.name);
  }
  if (!unchanged.empty()) field("unchanged", fmt::format("{}: {}", count_of(unchanged.size(), "host"), compress_hosts(unchanged)));
  if (!away.empty()) field("unreachable", compress_hosts(away) + ": tried again in the last stage, owed if that fails", Tone::warn);
  if (!p.groups.empty() || !unchanged.empty() || !away.empty()) out.push_back("");
  field("plan", plan_name);
  field("budgets", budget_words(spec));
  field("on failure", spec.rollback_on_failure ? "goes back on every host it touched" : "pauses");
  for (const auto& once : spec.once) field("once", fmt::format("before stage {}, on this machine: {}", once.before, once.text()));
  if (!spec.no_return.empty())
    field("no return", fmt::format("PAST {} NOTHING GOES BACK: what is replaced cannot read it; no dead-man switch is armed", join(spec.no_return, ", ")),
          Tone::bad);
  else field("dead-man", fmt::format("a host not confirmed within {} goes back by itself", format_duration(spec.confirm_within)));
  field("window", window_words(spec, now));
  field("sends", "at most " + format_size(p.bytes_to_send) + " in all, before compression");
  field("takes", "about " + (p.estimated.count() ? format_duration(p.estimated) : "no time"));
  for (const auto& w : p.ways_back) field("way back", way_back_words(w, spec.proof_valid, now), w.waived ? Tone::bad : Tone::plain);
  field("no way back",
        p.no_way_back.empty() ? "nowhere: every host can return to what it runs"
                              : compress_hosts(p.no_way_back) + ": nothing runs there yet; going back means stopping it",
        p.no_way_back.empty() ? Tone::plain : Tone::warn);
  return out;
}

json::object plan_json(const Preflight& p, const std::string& plan_name, WallTime now) {
  const auto& spec = p.spec;
  json::object o = to_json(spec);
  json::array stages, groups, findings;
  for (std::size_t i = 0; i < spec.stages.size(); ++i) {
    const auto& s = spec.stages[i];
    stages.push_back(json::object{{"name", s.name},
                                  {"hosts", to_json_array(hosts_of_stage(spec, i))},
                                  {"max_parallel", s.max_parallel},
                                  {"slow_start", s.slow_start},
                                  {"max_unavailable", s.max_unavailable},
                                  {"bake_ms", s.bake.count()},
                                  {"approval", s.approval}});
  }
  for (const auto& g : p.groups)
    groups.push_back(json::object{{"from", g.from},
                                  {"to", g.to},
                                  {"hosts", to_json_array(g.hosts)},
                                  {"files_changed", g.files_changed},
                                  {"files_added", g.files_added},
                                  {"files_removed", g.files_removed},
                                  {"bytes", g.bytes},
                                  {"restarts", to_json_array(g.restarts)}});
  for (const auto& f : p.findings)
    findings.push_back(json::object{{"host", f.host}, {"what", f.what}, {"blocks", f.blocks}, {"exit", static_cast<int>(f.exit)}});
  json::array ways;
  for (const auto& w : p.ways_back) {
    json::object way{{"from", to_json(w.from)}, {"hosts", w.hosts}, {"waived", w.waived}};
    way["proof"] = w.proof ? json::value(to_json(*w.proof)) : json::value(nullptr);
    way["rehearsed_on"] = w.proof || w.waived ? json::value(nullptr) : json::value(w.rehearsed_on);
    ways.push_back(std::move(way));
  }
  json::object result{{"plan", plan_name},
                      {"spec", std::move(o)},
                      {"stages", std::move(stages)},
                      {"changes", std::move(groups)},
                      {"findings", std::move(findings)},
                      {"changing", changing(spec)},
                      {"nothing_to_do", p.nothing_to_do},
                      {"ways_back", std::move(ways)},
                      {"no_way_back", to_json_array(p.no_way_back)},
                      {"bytes_to_send", p.bytes_to_send},
                      {"estimated_ms", p.estimated.count()},
                      {"budgets", budget_words(spec)},
                      {"confirm_within_ms", spec.confirm_within.count()}};
  result["window_open"] = spec.window ? json::value(spec.window->open(now)) : json::value(nullptr);
  return result;
}

}  // namespace ripcord::cli

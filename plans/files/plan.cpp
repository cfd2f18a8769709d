#include "plans/files/plan.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "core/net/yaml.hpp"

namespace ripcord {
namespace {

constexpr int kMost = 100000;

Amount decode_amount(const Yaml& node, int least, std::string_view what = "a number of hosts or a percentage (3 or 25%)") {
  Amount amount{least, false};
  if (!node) return amount;
  if (!node.is_scalar()) {
    node.error(fmt::format("expected {}", what));
    return amount;
  }
  auto text = node.string();
  std::string_view digits = text;
  bool percent = !digits.empty() && digits.back() == '%';
  if (percent) digits.remove_suffix(1);
  int value = 0;
  auto [end, ec] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  bool good = ec == std::errc() && end == digits.data() + digits.size() && (digits[0] != '0' || digits.size() == 1);
  if (!good) node.error(fmt::format("expected {}, found '{}'", what, text));
  else if (value < least || value > (percent ? 100 : kMost)) node.error(fmt::format("expected {} from {} to {}", percent ? "a percentage" : "a number", least, percent ? 100 : kMost));
  else amount = {value, percent};
  return amount;
}

class PlanDecoder {
 public:
  PlanDecoder(YamlFile& file, const Fleet& fleet) : file_(file), fleet_(fleet) {}

  Plan decode() {
    Plan plan;
    auto root = file_.root();
    if (!root) return plan;
    plan.unit = root.get("unit").string_or("");
    auto stages = root.require("stages");
    for (const auto& item : stages ? stages.items() : std::vector<Yaml>()) plan.stages.push_back(stage(item));
    if (stages.is_list() && plan.stages.empty()) stages.error("a plan needs at least one stage");
    auto window = root.get("window");
    if (window) plan.window = decode_window(window);
    else if (fleet_.link == Fleet::LinkKind::ssh) plan.window = working_hours(local_timezone());
    if (auto v = root.get("max_failures")) plan.max_failures = decode_amount(v, 1);
    if (auto v = root.get("max_unreachable")) plan.max_unreachable = decode_amount(v, 0);
    if (auto v = root.get("progress_deadline"); v && (plan.progress_deadline = v.duration()) < Millis(1000)) v.error("at least 1s is needed");
    if (auto v = root.get("on_drift")) plan.set_aside_drift = v.one_of({"refuse", "set_aside"}) == "set_aside";
    if (auto v = root.get("on_failure")) plan.rollback_on_failure = v.one_of({"rollback", "pause"}) != "pause";
    if (auto v = root.get("deadman")) plan.demand_strong_deadman = v.one_of({"strong", "any"}) == "strong";
    if (auto v = root.get("spread")) plan.spread = v.duration();
    if (auto v = root.get("hotfix_bake")) plan.hotfix_bake = v.duration();
    if (auto v = root.get("once"))
      for (const auto& item : v.is_map() ? std::vector<Yaml>{v} : v.items()) plan.once.push_back(once(item, plan.stages));
    if (auto v = root.get("requires")) plan.completed_elsewhere = elsewhere(v);
    if (auto v = root.get("proof_expires"); v && (plan.proof_expires = v.duration()) < Millis(60000)) v.error("at least 1m is needed");
    if (auto v = root.get("rest")) plan.rest_excluded = v.one_of({"excluded"}) == "excluded";
    root.close();
    return plan;
  }

 private:
  // A label that hosts of the fleet have: a stage for each value of a mistyped one would be empty, a limit by it no limit.
  std::string label(const Yaml& node) {
    auto name = node.string();
    std::vector<std::string> known;
    for (const auto& host : fleet_.hosts)
      for (const auto& [key, value] : host.labels) {
        if (key == name) return name;
        if (std::find(known.begin(), known.end(), key) == known.end()) known.push_back(key);
      }
    auto near = did_you_mean(name, known);
    if (!name.empty()) node.error(fmt::format("no host has a label '{}'{}", name, near ? ", did you mean '" + *near + "'?" : ""));
    return name;
  }

  Selection selection(const Yaml& node) {
    using Kind = Selection::Kind;
    Selection s;
    if (node.is_scalar() && node.string() == "rest") return s;
    if (!node.is_map()) {
      s.kind = Kind::count;
      s.amount = decode_amount(node, 1, "a number of hosts, a percentage, rest, or a map (3, 25%, rest, {count: 1, per: datacenter})");
      return s;
    }
    auto count = node.get("count"), percent = node.get("percent"), per = node.get("per"), where = node.get("where"), datacenters = node.get("datacenters");
    if (!!count + !!percent + !!datacenters > 1) node.error("only one of count, percent, datacenters is possible");
    if (datacenters) {
      s.kind = Kind::datacenters;
      s.amount = decode_amount(datacenters, 1, "a number of datacenters or a percentage of them");
      if (per) node.error_at_key("per", "'per' does not go with datacenters");
    } else if (count || percent) {
      s.kind = per ? Kind::per_label : Kind::count;
      s.amount = count ? decode_amount(count, 1) : Amount{static_cast<int>(percent.integer(1, 100)), true};
      if (per) s.label = label(per);
    } else if (per) {
      node.error("'per' needs count or percent: how many for each value of the label");
    } else if (!where) {
      node.error("a selection needs count, percent, datacenters or where");
    }
    if (where) {
      try {
        s.where = Selector::parse(where.string());
      } catch (const Error& e) {
        if (!where.string().empty()) where.error(e.message());
      }
    }
    node.close();
    return s;
  }

  MaxUnavailable max_unavailable(const Yaml& node) {
    MaxUnavailable m;
    if (!node.is_map()) {
      m.amount = decode_amount(node, 1);
      return m;
    }
    auto per = node.require("per");
    if (per) m.label = label(per);
    m.amount = decode_amount(node.require("count"), 1);
    node.close();
    return m;
  }

  OnceSpec once(const Yaml& node, const std::vector<StagePlan>& stages) {
    OnceSpec o;
    auto before = node.require("before");
    o.before = before.string();
    std::vector<std::string> names;
    for (const auto& s : stages) names.push_back(s.name);
    auto found = std::find(names.begin(), names.end(), o.before);
    o.stage = static_cast<int>(found - names.begin());
    if (found == names.end() && !o.before.empty()) {
      auto near = did_you_mean(o.before, names);
      before.error(fmt::format("there is no stage '{}'{}", o.before, near ? ", did you mean '" + *near + "'?" : ""));
    }
    if (auto v = node.require("run"); v && (o.run = v.strings()).empty()) v.error("expected a program and its arguments");
    if (auto v = node.get("check"); v && (o.check = v.strings()).empty()) v.error("expected a program and its arguments");
    if (auto v = node.get("deadline"); v && (o.deadline = v.duration()) < Millis(1000)) v.error("at least 1s is needed");
    node.close();
    return o;
  }

  CompletedElsewhere elsewhere(const Yaml& node) {
    CompletedElsewhere e;
    e.fleet = node.require("fleet").string();
    if (auto v = node.require("completed")) e.completed = v.duration();
    node.close();
    return e;
  }

  StagePlan stage(const Yaml& node) {
    StagePlan s;
    auto name = node.require("name");
    s.name = name.string();
    bool good = s.name.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789._-") == std::string::npos && s.name.size() <= 48;
    if (!good) name.error(fmt::format("'{}' is not a stage's name (lower-case letters, digits, '.', '_', '-')", s.name));
    if (std::find(names_.begin(), names_.end(), s.name) != names_.end() && !s.name.empty()) name.error(fmt::format("a second stage '{}'", s.name));
    names_.push_back(s.name);
    if (auto v = node.require("hosts")) s.hosts = selection(v);
    if (auto v = node.get("max_parallel")) s.max_parallel = decode_amount(v, 1);
    if (auto v = node.get("slow_start")) s.slow_start = v.boolean();
    if (auto v = node.get("max_unavailable")) s.max_unavailable = max_unavailable(v);
    if (auto v = node.get("bake")) s.bake = v.duration();
    if (auto v = node.get("approval")) s.approval = v.boolean();
    node.close();
    return s;
  }

  static int day(std::string_view word) {
    constexpr std::string_view kDays[] = {"sun", "mon", "tue", "wed", "thu", "fri", "sat"};
    auto found = std::find(std::begin(kDays), std::end(kDays), word);
    return found == std::end(kDays) ? -1 : static_cast<int>(found - std::begin(kDays));
  }

  // "HH:MM", 24:00 only as an end; -1 otherwise.
  static int minute(std::string_view text) {
    auto digit = [&](std::size_t i) { return text[i] >= '0' && text[i] <= '9'; };
    if (text.size() != 5 || text[2] != ':' || !digit(0) || !digit(1) || !digit(3) || !digit(4)) return -1;
    int h = (text[0] - '0') * 10 + text[1] - '0', m = (text[3] - '0') * 10 + text[4] - '0';
    return m < 60 && (h < 24 || (h == 24 && m == 0)) ? h * 60 + m : -1;
  }

  std::optional<Window> decode_window(const Yaml& node) {
    if (node.is_scalar()) {
      node.one_of({"none"});
      return std::nullopt;
    }
    Window w = working_hours("UTC");
    if (auto days = node.get("days")) {
      w.days.clear();
      auto items = days.items(true);
      for (const auto& item : items) {
        auto text = item.string();
        auto dash = text.find('-');
        int first = day(text.substr(0, dash)), last = dash == std::string::npos ? first : day(text.substr(dash + 1));
        if (first < 0 || last < 0) {
          if (!text.empty()) item.error(fmt::format("'{}' is not a day (mon, tue, wed, thu, fri, sat, sun) or a range of days (mon-fri)", text));
          continue;
        }
        for (int d = first;; d = (d + 1) % 7) {
          w.days.insert(d);
          if (d == last) break;
        }
      }
      if (days.is_list() && items.empty()) days.error("a window without days never opens");
    }
    if (auto hours = node.get("hours")) {
      auto text = hours.string();
      auto dash = text.find('-');
      int from = minute(text.substr(0, dash)), to = dash == std::string::npos ? -1 : minute(text.substr(dash + 1));
      if (from < 0 || from == 24 * 60 || to < 0) {
        if (!text.empty()) hours.error(fmt::format("'{}' are not hours (09:00-16:00)", text));
      } else if (from == to) {
        hours.error("a window from a time to the same time never opens; 00:00-24:00 is the whole day");
      } else {
        w.from_minute = from;
        w.to_minute = to;
      }
    }
    auto zone = node.get("timezone");
    w.timezone = zone ? zone.string() : local_timezone();
    if (!w.timezone.empty() && !known_timezone(w.timezone))
      zone.error(fmt::format("unknown time zone '{}': names are as in /usr/share/zoneinfo, for example Europe/Berlin", w.timezone));
    node.close();
    return w;
  }

  YamlFile& file_;
  const Fleet& fleet_;
  std::vector<std::string> names_;
};

Plan finished(YamlFile& file, const std::string& name, const Fleet& fleet) {
  auto plan = PlanDecoder(file, fleet).decode();
  file.finish();
  plan.name = name;
  return plan;
}

}  // namespace

int Amount::of(int total) const {
  if (!percent) return value;
  return value == 0 || total <= 0 ? 0 : std::max(1, static_cast<int>(static_cast<std::int64_t>(total) * value / 100));
}

std::string Amount::text() const { return fmt::format("{}{}", value, percent ? "%" : ""); }

Plan decode_plan(const std::string& name, std::string text, const Fleet& fleet) {
  YamlFile file(name, std::move(text));
  return finished(file, name, fleet);
}

Plan load_plan(const std::string& path, const Fleet& fleet) {
  auto file = YamlFile::load(path);
  return finished(file, path, fleet);
}

}  // namespace ripcord

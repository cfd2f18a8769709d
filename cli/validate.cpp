#include <fmt/format.h>

#include <algorithm>
#include <filesystem>

#include "cli/command.hpp"
#include "cli/view/words.hpp"
#include "core/base/files.hpp"
#include "manifests/unit_file.hpp"
#include "plans/files/plan.hpp"
#include "plans/files/validate.hpp"

namespace ripcord::cli {
namespace {

namespace fs = std::filesystem;

struct Found {
  enum class Kind { fleet, unit, plan } kind;
  std::string path;  // unit: its folder
};

bool has_key(const std::string& text, const std::string& key) {
  return text.starts_with(key + ":") || text.find("\n" + key + ":") != std::string::npos;
}

class Validate : public Command {
 public:
  void declare(Arguments& a) override {
    a.positionals("FILE|FOLDER", given_, "what to check; else the fleet file and everything below its folder");
  }

  Exit run(Context& c) override {
    auto found = what_to_check(c);
    std::stable_sort(found.begin(), found.end(), [](const Found& a, const Found& b) { return a.kind < b.kind; });
    for (const auto& f : found) check(c, f);
    return report(c);
  }

 private:
  std::vector<Found> what_to_check(Context& c) {
    std::vector<Found> found;
    if (given_.empty()) {
      if (!c.has_fleet_file())
        throw Error(fmt::format("there is no fleet file '{}'", c.fleet_path()),
                    "name files to check, or make an example with `ripcord init`", Exit::invalid_file);
      found.push_back({Found::Kind::fleet, c.fleet_path()});
      below(parent_dir(c.fleet_path()), found, 0);
      return found;
    }
    for (const auto& path : given_) {
      if (!exists(path)) throw Error(fmt::format("there is no '{}'", escape_terminal(path)), {}, Exit::invalid_file);
      if (fs::is_directory(path)) {
        if (exists(path + "/fleet.yaml")) found.push_back({Found::Kind::fleet, path + "/fleet.yaml"});
        below(path, found, 0);
      } else if (fs::path(path).filename() == "unit.yaml") {
        found.push_back({Found::Kind::unit, parent_dir(path)});
      } else {
        auto text = read_file(path);
        bool plan = has_key(text, "stages") && !has_key(text, "datacenters");
        found.push_back({plan ? Found::Kind::plan : Found::Kind::fleet, path});
      }
    }
    return found;
  }

  // Units and plans below a folder; not in hidden folders, not in a unit, and not in the hosts of a local fleet.
  void below(const std::string& folder, std::vector<Found>& found, int depth) {
    if (exists(folder + "/unit.yaml")) return found.push_back({Found::Kind::unit, folder});
    std::vector<fs::path> entries;
    std::error_code unreadable;
    for (const auto& e : fs::directory_iterator(folder, unreadable)) entries.push_back(e.path().lexically_normal());
    std::sort(entries.begin(), entries.end());
    for (const auto& path : entries) {
      auto name = path.filename().string();
      if (name.starts_with(".") || fs::is_symlink(path, unreadable)) continue;
      if (fs::is_directory(path, unreadable)) {
        if (depth < 4 && !exists(path.string() + "/var/lib/ripcord")) below(path.string(), found, depth + 1);
        continue;
      }
      bool plan = name == "plan.yaml" || (path.extension() == ".yaml" && path.parent_path().filename() == "plans");
      if (plan) found.push_back({Found::Kind::plan, path.string()});
    }
  }

  void check(Context& c, const Found& f) {
    try {
      if (f.kind == Found::Kind::fleet) {
        fleet_ = load_fleet(f.path);
        good(f.path, fmt::format("fleet {}: {} in {}", fleet_->name, count_of(fleet_->hosts.size(), "host"),
                                 count_of(fleet_->datacenters.size(), "datacenter")));
      } else if (f.kind == Found::Kind::unit) {
        auto unit = load_unit(f.path);
        auto place = f.path + "/unit.yaml";
        good(place, fmt::format("unit {}@{}{}", unit.unit, unit.version, where(unit)));
        units_.push_back({f.path, std::move(unit)});
      } else {
        if (!fleet_ && given_.empty() == false && c.has_fleet_file()) fleet_ = load_fleet(c.fleet_path());
        if (!fleet_) return skip(f.path, "not checked: a plan is checked against a fleet file that is right");
        auto plan = load_plan(f.path, *fleet_);
        good(f.path, fmt::format("plan: {}{}", count_of(plan.stages.size(), "stage"), plan.unit.empty() ? "" : " for unit " + plan.unit));
        plans_.emplace_back(f.path, std::move(plan));
      }
    } catch (const Error& e) {
      if (e.exit() != Exit::invalid_file) bad(f.path, f.path + ": " + e.what());
      else bad(f.path, e.what());
    }
  }

  std::string where(const UnitSpec& unit) const {
    if (!fleet_) return "";
    try {
      return fmt::format(" on {}", count_of(fleet_->select(Selector::parse(unit.hosts)).size(), "host"));
    } catch (const Error&) {
      return "";  // the cross check says what is wrong with it
    }
  }

  void good(std::string path, std::string what) { lines_.push_back({std::move(path), std::move(what), 'o'}); }
  void skip(std::string path, std::string what) { lines_.push_back({std::move(path), std::move(what), 's'}); }
  void bad(std::string path, std::string what) { lines_.push_back({std::move(path), std::move(what), 'e'}); }

  Exit report(Context& c) {
    auto& out = c.out();
    bool failed = std::any_of(lines_.begin(), lines_.end(), [](const Checked& l) { return l.result == 'e'; });
    if (!failed && fleet_) cross();
    failed = std::any_of(lines_.begin(), lines_.end(), [](const Checked& l) { return l.result == 'e'; });
    if (!out.text()) {
      json::array items;
      for (const auto& l : lines_) items.push_back(json::object{{"path", l.path}, {"ok", l.result == 'o'}, {"what", l.what}});
      out.print_list("files", items);
      return failed ? Exit::invalid_file : Exit::done;
    }
    for (const auto& l : lines_) {
      if (l.result == 'e') {
        // As they are, so that an editor finds file:line:col at the beginning.
        for (const auto& line : split(l.what, '\n')) out.print(escape_terminal(line));
        continue;
      }
      out.print(Line()
                    .cell(l.result == 'o' ? "ok" : "skip", 6, l.result == 'o' ? Tone::good : Tone::warn)
                    .add(l.path + "  ")
                    .add(l.what, Tone::dim)
                    .render(out.style));
    }
    if (lines_.empty()) out.note("nothing to check was found");
    return failed ? Exit::invalid_file : Exit::done;
  }

  // What is wrong between files that are each right.
  void cross() {
    for (const auto& unit : units_) {
      const Plan* plan = nullptr;
      std::string with;
      for (const auto& [path, p] : plans_)
        if (p.unit == unit.spec.unit) plan = &p, with = path;
      for (const auto& finding : cross_check(*fleet_, unit.spec, plan, template_uses_in(unit.folder, unit.spec)))
        bad(unit.folder + "/unit.yaml", fmt::format("{}/unit.yaml{}: {}", unit.folder, with.empty() ? "" : " with " + with, finding));
    }
  }

  struct Checked {
    std::string path, what;
    char result;
  };
  std::vector<std::string> given_;
  std::vector<Checked> lines_;
  std::optional<Fleet> fleet_;
  struct Unit {
    std::string folder;
    UnitSpec spec;
  };
  std::vector<Unit> units_;
  std::vector<std::pair<std::string, Plan>> plans_;
};

}  // namespace

std::unique_ptr<Command> make_validate() { return std::make_unique<Validate>(); }

}  // namespace ripcord::cli

#include "manifests/host/pending.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include "core/base/files.hpp"

namespace ripcord {
namespace {

std::string beside(const std::string& path, const char* suffix) {
  auto slash = path.rfind('/');
  return path.substr(0, slash + 1) + "." + path.substr(slash + 1) + suffix;
}

}  // namespace

std::string PlacedWay::old_name() const { return beside(path, ".ripcord-old"); }
std::string PlacedWay::new_name() const { return beside(path, ".ripcord-new"); }

std::string back_link(const UnitLayout& unit, const std::string& op) { return unit.unit_root + "/.back-" + op; }
std::string next_link(const UnitLayout& unit, const std::string& op) { return unit.unit_root + "/.next-" + op; }

void write_pending(const UnitLayout& unit, const Pending& p) {
  json::array files;
  for (const auto& f : p.files) files.push_back({{"path", f.path}, {"existed", f.existed}});
  json::object o{{"op", p.op},
                 {"boot", p.boot},
                 {"deadline_us", p.deadline.us},
                 {"strength", p.strength},
                 {"deadman", json::object{{"pid", p.deadman.pid}, {"start", p.deadman.start}}},
                 {"timer", p.timer},
                 {"back", p.back ? json::value(*p.back) : json::value()},
                 {"files", files}};
  write_file_durable(unit.pending(), json::serialize(o) + "\n");
}

std::optional<Pending> read_pending(const UnitLayout& unit) {
  auto text = read_file_if_exists(unit.pending(), 1u << 20);
  if (!text) return std::nullopt;
  try {
    auto o = parse_json_object(*text, "the armed operation");
    Pending p;
    p.op = get_string(o, "op");
    p.boot = get_string_or(o, "boot", "");
    p.deadline = Elapsed{get_int_or(o, "deadline_us", 0)};
    p.strength = get_string_or(o, "strength", "weak");
    p.timer = get_string_or(o, "timer", "");
    if (const auto* d = find_object(o, "deadman"))
      p.deadman = {static_cast<pid_t>(get_int_or(*d, "pid", 0)), static_cast<std::uint64_t>(get_int_or(*d, "start", 0))};
    p.says_back = o.contains("back"), p.says_files = o.contains("files");
    if (auto back = get_string_or(o, "back", ""); !back.empty()) p.back = back;
    if (const auto* files = find_array(o, "files"))
      for (const auto& f : *files)
        if (f.is_object()) p.files.push_back({get_string(f.get_object(), "path"), get_bool_or(f.get_object(), "existed", false)});
    return p;
  } catch (const Error& e) {
    throw HostFailure("journal_damaged", fmt::format("the record of the armed operation '{}' is damaged: {}", unit.pending(), e.what()),
                      "look at the unit's journal and at 'current', then remove the record");
  }
}

Pending pending_from(const Operation& op) {
  Pending p;
  p.op = op.state.op, p.boot = op.boot, p.deadline = op.deadline;
  if (!op.strength.empty()) p.strength = op.strength;
  auto target = get_string_or(op.intent, "from_target", op.state.from ? UnitLayout::link_target(op.state.from->folder()) : "");
  if (!target.empty()) p.back = target;
  if (const auto* files = find_array(op.intent, "files"))
    for (const auto& f : *files)
      if (f.is_object()) p.files.push_back({get_string(f.get_object(), "path"), get_bool_or(f.get_object(), "existed", false)});
  return p;
}

Pending completed(Pending p, const Operation& op) {
  if (p.says_back && p.says_files) return p;
  Pending known = pending_from(op);
  if (!p.says_back) p.back = known.back, p.says_back = true;
  if (!p.says_files) p.files = known.files, p.says_files = true;
  return p;
}

void remove_pending(const UnitLayout& unit, const Pending& pending) {
  for (const auto& f : pending.files) {
    ::unlink(f.old_name().c_str());
    ::unlink(f.new_name().c_str());
  }
  ::unlink(back_link(unit, pending.op).c_str());
  ::unlink(next_link(unit, pending.op).c_str());
  if (::unlink(unit.pending().c_str()) == 0) fsync_dir(unit.state);
}

}  // namespace ripcord

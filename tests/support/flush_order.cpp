#include "tests/support/flush_order.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/openat2.h>
#include <sys/uio.h>

#include <algorithm>

#include "core/base/files.hpp"

namespace ripcord::test {
namespace {

constexpr std::uint64_t kShareBlocks = 0x40049409;  // FICLONE

std::string name_of(const std::string& path) { return path.substr(path.rfind('/') + 1); }

bool is_at_or_below(const std::string& path, const std::string& folder) {
  return path.starts_with(folder) && (path.size() == folder.size() || path[folder.size()] == '/');
}

std::uint64_t flags_of(const CallStop& stop) {
  if (stop.call == "open") return stop.args[1];
  if (stop.call == "openat") return stop.args[2];
  open_how how{};
  iovec local{&how, sizeof how}, remote{reinterpret_cast<void*>(stop.args[2]), sizeof how};
  return ::process_vm_readv(stop.pid, &local, 1, &remote, 1, 0) == static_cast<ssize_t>(sizeof how) ? how.flags : 0;
}

bool writes(const CallStop& stop) {
  return stop.call == "write" || stop.call == "writev" || stop.call == "pwrite64" || stop.call == "sendmsg" || stop.call == "sendto" ||
         stop.call == "copy_file_range" || (stop.call == "ioctl" && stop.args[1] == kShareBlocks);
}

struct Move {
  std::string from, to;
};

Move move_of(const CallStop& stop) {
  if (stop.call == "rename" || stop.call == "link") return {stop.path(0), stop.path(1)};
  return {stop.path(0, 1), stop.path(2, 3)};
}

// The name that a call makes or removes.
std::string target_of(const CallStop& stop) {
  if (stop.call == "symlink") return stop.path(1);
  if (stop.call == "symlinkat") return stop.path(1, 2);
  if (stop.call == "open" || stop.call == "unlink" || stop.call == "mkdir") return stop.path(0);
  return stop.path(0, 1);
}

}  // namespace

FlushOrder::FlushOrder(std::string below, std::function<bool(const std::string&)> matters) : below_(std::move(below)), matters_(std::move(matters)) {}

const std::vector<std::string>& FlushOrder::calls() {
  static const std::vector<std::string> all = [] {
    auto names = kNameCalls;
    names.insert(names.end(), {"mkdir", "mkdirat", "open", "openat", "openat2", "write", "writev", "pwrite64", "sendmsg", "sendto", "ioctl", "copy_file_range"});
    return names;
  }();
  return all;
}

void FlushOrder::see(const CallStop& stop) { stop.before ? before(stop) : after(stop); }

bool FlushOrder::watched(const std::string& path) const { return path != below_ && is_at_or_below(path, below_) && matters_(path); }
void FlushOrder::name_changes(const std::string& path) {
  if (watched(path)) names_[parent_dir(path)].insert(name_of(path));
}
void FlushOrder::wrote(const std::string& path) {
  if (watched(path)) bytes_.insert(path);
}

void FlushOrder::flushed(const std::string& path) {
  ++flushes;
  bytes_.erase(path);
  names_.erase(path);
}

std::string FlushOrder::unflushed(const std::string& below, const std::string& but) const {
  auto asked = [&](const std::string& path) { return below.empty() ? path.find("/.staging-") == path.npos : is_at_or_below(path, below); };
  for (const auto& path : bytes_)
    if (asked(path)) return fmt::format("what was written to {}", path);
  for (const auto& [folder, names] : names_)
    for (const auto& name : names)
      if ((below.empty() ? asked(folder + "/" + name) : asked(folder)) && folder + "/" + name != but) return fmt::format("the name {} in {}", name, folder);
  return "";
}

void FlushOrder::say(const CallStop& stop, const std::string& what) {
  auto text = fmt::format("{} ({}, call {})", what, stop.call, stop.n);
  if (std::find(wrong_.begin(), wrong_.end(), text) == wrong_.end()) wrong_.push_back(std::move(text));
}

// What is under way now must find everything durable that it relies on.
void FlushOrder::before(const CallStop& stop) {
  fresh_ = false;
  if (stop.call.starts_with("open")) {
    fresh_ = (flags_of(stop) & O_CREAT) && !exists(target_of(stop));
  } else if (writes(stop)) {
    auto file = stop.file(stop.call == "copy_file_range" ? 2 : 0);
    bool journal = name_of(file) == "journal" && watched(file);
    auto left = unflushed();
    if (journal) ++journal_writes;
    if (journal && !left.empty()) say(stop, "the journal is written while not durable: " + left);
    bool somebody = file.starts_with("pipe:") || file.starts_with("socket:");
    if (somebody) ++told;
    if (somebody && !left.empty()) say(stop, "somebody is told something while not durable: " + left);
  } else if (stop.call.starts_with("rename") || stop.call.starts_with("unlink")) {
    auto from = stop.call.starts_with("rename") ? move_of(stop).from : target_of(stop), to = stop.call.starts_with("rename") ? move_of(stop).to : from;
    if (auto left = unflushed(from); to != from && watched(to) && !left.empty()) say(stop, to + " gets its name while not durable: " + left);
    if (name_of(to) != "current" || !watched(to) || !exists(to == from ? to : from)) return;
    ++moves;
    // The link that comes is made durable with its move: what it says is in its inode.
    if (auto left = unflushed("", from); !left.empty()) say(stop, to + " is moved while not durable: " + left);
  }
}

void FlushOrder::moved(const std::string& from, const std::string& to) {
  auto renamed = [&](const std::string& path) { return is_at_or_below(path, from) ? to + path.substr(from.size()) : path; };
  std::set<std::string> bytes;
  for (const auto& path : bytes_) bytes.insert(renamed(path));
  bytes_ = std::move(bytes);
  std::map<std::string, std::set<std::string>> names;
  for (auto& [folder, inside] : names_) names[renamed(folder)].merge(inside);
  names_ = std::move(names);
  name_changes(to);
}

void FlushOrder::after(const CallStop& stop) {
  if (stop.result < 0) return;
  if (stop.call == "fsync" || stop.call == "fdatasync") return flushed(stop.file(0));
  if (stop.call == "syncfs") {
    ++flushes;
    bytes_.clear();
    names_.clear();
  } else if (stop.call.starts_with("open")) {
    if (fresh_) name_changes(target_of(stop));
  } else if (writes(stop)) {
    wrote(stop.file(stop.call == "copy_file_range" ? 2 : 0));
  } else if (stop.call.starts_with("rename")) {
    auto move = move_of(stop);
    moved(move.from, move.to);
  } else if (stop.call.starts_with("link")) {
    name_changes(move_of(stop).to);
  } else {
    auto target = target_of(stop);
    bool gone = stop.call.starts_with("unlink");
    if (gone) bytes_.erase(target);
    // Of what is removed only that matters which says something by being there.
    if (gone && name_of(target) != "current" && name_of(target) != "pending" && name_of(target) != "halt") {
      if (auto folder = names_.find(parent_dir(target)); folder != names_.end() && folder->second.erase(name_of(target)) && folder->second.empty()) names_.erase(folder);
      names_.erase(target);
      return;
    }
    name_changes(target);
  }
}

}  // namespace ripcord::test

#include "plans/spool.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <set>
#include <vector>

#include "core/base/error.hpp"
#include "core/base/files.hpp"

namespace ripcord {
namespace {

struct Attempt {
  bool over = false, taken = false;
  std::string why;
  Signal ended;
};

Task<> append_into(Ledger* ledger, json::object body, std::shared_ptr<Attempt> attempt) {
  try {
    std::vector<json::object> bodies;
    bodies.push_back(std::move(body));
    co_await ledger->append(std::move(bodies));
    attempt->taken = true;
  } catch (const Error& e) {
    attempt->why = e.what();
  }
  attempt->over = true;
  attempt->ended.notify_all();
}

std::vector<std::string> files_in(const std::string& folder) {
  std::vector<std::string> files;
  if (DIR* dir = ::opendir(folder.c_str())) {
    while (const dirent* entry = ::readdir(dir)) {
      std::string name = entry->d_name;
      if (name.ends_with(".jsonl")) files.push_back(name);
    }
    ::closedir(dir);
  }
  std::sort(files.begin(), files.end());
  return files;
}

std::string key_of(const json::object& body) {
  return get_string_or(body, "rollback", "-") + " " + std::to_string(get_int_or(body, "n", -1));
}

// Keys of the rollbacks' entries that the ledger has; reading all of it is rare enough.
std::set<std::string> known_keys(Ledger& ledger) {
  std::set<std::string> keys;
  const std::size_t batch = 50000;
  for (std::int64_t from = 0;;) {
    auto some = ledger.read(from, batch);
    for (const auto& e : some)
      if (e.body.contains("rollback")) keys.insert(key_of(e.body));
    if (some.size() < batch) return keys;
    from = some.back().seq + 1;
  }
}

}  // namespace

void EntrySink::spool(json::object body) {
  spooled_ = true;
  make_dirs(folder_);
  const std::string path = folder_ + "/" + op_ + ".jsonl";
  body["spooled_at"] = format_utc(clock_.wall());
  body["spooled_by"] = who_;
  const bool fresh = !exists(path);
  Fd fd = open_file(path, O_WRONLY | O_CREAT | O_APPEND, 0600);
  write_all(fd.get(), json::serialize(body) + "\n", path);
  fsync_fd(fd.get(), path);
  if (fresh) fsync_dir(folder_);
}

Task<> EntrySink::append(json::object body) {
  body["unit"] = unit_;
  body["rollback"] = op_;
  body["n"] = ++entries_;
  Ledger* ledger = spooled_ ? nullptr : ledger_.now();
  if (!ledger) {
    spool(std::move(body));
    co_return;
  }
  auto attempt = std::make_shared<Attempt>();
  spawn(loop_, append_into(ledger, body, attempt));
  Elapsed deadline = clock_.elapsed() + patience_;
  while (!attempt->over) {
    bool heard = co_await attempt->ended.wait_until(clock_, deadline);
    if (!heard) break;
  }
  if (attempt->taken) co_return;
  // The cord must not wait for it. Should it take the entry after all, the number tells.
  ledger_.give_up(attempt->over ? attempt->why : "it did not take an entry in time");
  spool(std::move(body));
}

Task<std::size_t> merge_spool(Ledger& ledger, std::string spool_folder) {
  std::size_t merged = 0;
  std::optional<std::set<std::string>> known;
  for (const auto& name : files_in(spool_folder)) {
    const std::string path = spool_folder + "/" + name;
    auto text = read_file_if_exists(path);
    if (!text) continue;  // another process merged it
    if (!known) known = known_keys(ledger);
    std::vector<json::object> bodies;
    bool damaged = false;
    std::string_view rest = *text;
    while (!rest.empty()) {
      auto end = rest.find('\n');
      if (end == std::string_view::npos) break;  // torn by a crash: its command had not left yet
      try {
        auto body = parse_json_object(rest.substr(0, end), "an entry of " + path);
        if (!known->contains(key_of(body))) bodies.push_back(std::move(body));
      } catch (const Error&) {
        damaged = true;
      }
      rest.remove_prefix(end + 1);
    }
    // All entries of a file are one transaction: either the file is in the ledger or it is not.
    const auto count = bodies.size();
    if (count > 0) co_await ledger.append(std::move(bodies));
    merged += count;
    if (damaged) ::rename(path.c_str(), (path + ".damaged").c_str());
    else ::unlink(path.c_str());
    fsync_dir(spool_folder);
  }
  co_return merged;
}

}  // namespace ripcord

#include "plans/ledger/spool.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <set>
#include <vector>

#include "core/base/error.hpp"
#include "core/base/files.hpp"

namespace ripcord {
namespace {

constexpr int kRounds = 100;  // of others that append, between our look and our write; what is left waits for the next command

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

// Keys of the rollbacks' entries that the ledger has, as far as it was read; reading all of it is rare enough.
struct Known {
  std::set<std::string> keys;
  std::int64_t size = 0;

  void read_on(Ledger& ledger) {
    const std::size_t batch = 50000;
    for (std::vector<LedgerEntry> some(batch); some.size() == batch;) {
      some = ledger.read(size, batch);
      for (const auto& e : some)
        if (e.body.contains("rollback")) keys.insert(key_of(e.body));
      if (!some.empty()) size = some.back().seq + 1;
    }
  }
};

// A file of the spool while nobody else looks at it or writes to it. The lock is held for a moment only, never while a ledger is
// waited for: the cord has no time. Whoever gets it looks whether the file still has its name.
class SpoolFile {
 public:
  SpoolFile(const std::string& path, int flags) {
    for (int left = kTries; left > 0; --left) {
      fd_.reset(::open(path.c_str(), flags | O_CLOEXEC | O_NOFOLLOW, 0600));
      if (!fd_ && errno == ENOENT) return;
      if (!fd_) throw os_error("open", path, errno);
      struct stat mine {}, named {};
      if (::flock(fd_.get(), LOCK_EX | LOCK_NB) == 0 && ::fstat(fd_.get(), &mine) == 0 && ::stat(path.c_str(), &named) == 0 && mine.st_ino == named.st_ino) return;
      fd_.reset();
    }
  }
  explicit operator bool() const { return static_cast<bool>(fd_); }
  int fd() const { return fd_.get(); }

 private:
  static constexpr int kTries = 100;  // nothing is waited for: who holds it reads a few lines, or was stopped in the middle
  Fd fd_;
};

struct Spooled {
  std::vector<json::object> bodies;
  std::size_t bytes = 0;  // of the file when it was read
  bool damaged = false;
};

std::optional<Spooled> read_spooled(const std::string& path) {
  SpoolFile file(path, O_RDONLY);
  if (!file) return std::nullopt;  // merged by another process, or in its hands
  Spooled out;
  const std::string text = read_file(path);
  out.bytes = text.size();
  std::string_view rest = text;
  for (auto end = rest.find('\n'); end != std::string_view::npos; end = rest.find('\n')) {  // a torn end: its command had not left yet
    try {
      out.bodies.push_back(parse_json_object(rest.substr(0, end), "an entry of " + path));
    } catch (const Error&) {
      out.damaged = true;
    }
    rest.remove_prefix(end + 1);
  }
  return out;
}

// True: it is gone. False: something was added meanwhile, or another process holds it.
bool put_away(const std::string& path, const Spooled& merged) {
  SpoolFile file(path, O_RDONLY);
  struct stat now {};
  if (!file || ::fstat(file.fd(), &now) != 0 || static_cast<std::size_t>(now.st_size) != merged.bytes) return !exists(path);
  return (merged.damaged ? ::rename(path.c_str(), (path + ".damaged").c_str()) : ::unlink(path.c_str())) == 0;
}

}  // namespace

void EntrySink::spool(json::object body) {
  spooled_ = true;
  make_dirs(folder_);
  std::string path = folder_ + "/" + op_ + ".jsonl";
  body["spooled_at"] = format_utc(clock_.wall());
  body["spooled_by"] = who_;
  std::optional<SpoolFile> file(std::in_place, path, O_WRONLY | O_CREAT | O_APPEND);
  if (!*file) {  // somebody who merges it stands still: the cord goes on, in a file of its own
    path = fmt::format("{}/{}-{}.jsonl", folder_, op_, entries_);
    file.emplace(path, O_WRONLY | O_CREAT | O_APPEND);
  }
  if (!*file) throw Error(fmt::format("cannot write '{}': another process holds it", path));
  write_all(file->fd(), json::serialize(body) + "\n", path);
  fsync_fd(file->fd(), path);
  fsync_dir(folder_);
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
  Known known;
  for (const auto& name : files_in(spool_folder)) {
    const std::string path = spool_folder + "/" + name;
    bool gone = false;
    for (int round = 0; !gone && round < kRounds; ++round) {  // again when the ledger has moved, or something was added to the file
      auto spooled = read_spooled(path);
      if (!spooled) break;
      known.read_on(ledger);
      std::vector<json::object> bodies;
      for (const auto& body : spooled->bodies)
        if (!known.keys.contains(key_of(body))) bodies.push_back(body);
      // All entries of a file are one transaction, and only onto what was read: another process may be merging the same file.
      const auto count = bodies.size();
      bool moved = false;
      try {
        if (count > 0) co_await ledger.append_at(known.size, std::move(bodies));
      } catch (const LedgerMoved&) {
        moved = true;
      }
      if (moved) continue;
      merged += count;
      gone = put_away(path, *spooled);
    }
    if (gone) fsync_dir(spool_folder);
  }
  co_return merged;
}

}  // namespace ripcord

#include "plans/spool.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <vector>

#include "core/base/error.hpp"
#include "core/base/files.hpp"

namespace ripcord {

Task<> EntrySink::append(json::object body) {
  body["unit"] = unit_;
  body["rollback"] = op_;
  if (ledger_) {
    std::vector<json::object> bodies{body};
    try {
      co_await ledger_->append(std::move(bodies));
      co_return;
    } catch (const Error&) {
      ledger_ = nullptr;  // the cord must not wait for it; from here on everything goes into the spool
    }
  }
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

Task<std::size_t> merge_spool(Ledger& ledger, std::string spool_folder) {
  std::vector<std::string> files;
  if (DIR* dir = ::opendir(spool_folder.c_str())) {
    while (const dirent* entry = ::readdir(dir)) {
      std::string name = entry->d_name;
      if (name.ends_with(".jsonl")) files.push_back(name);
    }
    ::closedir(dir);
  }
  std::sort(files.begin(), files.end());
  std::size_t merged = 0;
  for (const auto& name : files) {
    const std::string path = spool_folder + "/" + name;
    auto text = read_file_if_exists(path);
    if (!text) continue;  // another process merged it
    std::vector<json::object> bodies;
    std::string_view rest = *text;
    while (!rest.empty()) {
      auto end = rest.find('\n');
      if (end == std::string_view::npos) break;  // torn by a crash: its command had not left yet
      bodies.push_back(parse_json_object(rest.substr(0, end), "an entry of " + path));
      rest.remove_prefix(end + 1);
    }
    // All entries of a file are one transaction: either the file is in the ledger or it is not.
    auto already = ledger.read(0);
    bool there = !bodies.empty() && std::any_of(already.begin(), already.end(), [&](const LedgerEntry& e) {
      return get_string_or(e.body, "rollback", "") == get_string_or(bodies[0], "rollback", "-") && e.body.contains("spooled_at");
    });
    if (!there && !bodies.empty()) {
      merged += bodies.size();
      co_await ledger.append(std::move(bodies));
    }
    ::unlink(path.c_str());
    fsync_dir(spool_folder);
  }
  co_return merged;
}

}  // namespace ripcord

#include "manifests/host/traces.hpp"

#include <fcntl.h>
#include <unistd.h>
#include <utmp.h>

#include <algorithm>
#include <charconv>
#include <cstring>

#include "core/base/error.hpp"
#include "core/base/files.hpp"
#include "core/base/text.hpp"

namespace ripcord {
namespace {

std::int64_t millis(const timespec& t) { return static_cast<std::int64_t>(t.tv_sec) * 1000 + t.tv_nsec / 1000000; }

template <std::size_t N>
std::string word(const char (&field)[N]) {
  return std::string(field, ::strnlen(field, N));
}

}  // namespace

std::string Traces::user(unsigned uid) {
  if (!read_) {
    read_ = true;
    try {
      for (const auto& line : split(read_file("/etc/passwd", 16u << 20), '\n')) {
        auto fields = split(line, ':');
        unsigned number = 0;
        if (fields.size() < 3) continue;
        auto [end, error] = std::from_chars(fields[2].data(), fields[2].data() + fields[2].size(), number);
        if (error == std::errc() && end == fields[2].data() + fields[2].size()) names_.emplace(number, fields[0]);
      }
    } catch (const Error&) {  // numbers will have to do
    }
  }
  auto found = names_.find(uid);
  return found == names_.end() ? std::to_string(uid) : found->second.substr(0, 64);
}

void Traces::of(const struct stat& st, DriftFinding& to) {
  to.owner = user(st.st_uid);
  to.mtime_ms = millis(st.st_mtim);
  to.ctime_ms = millis(st.st_ctim);
}

std::vector<Login> last_logins(const Layout& layout, std::size_t most) {
  constexpr off_t kRead = 256 * sizeof(utmp);
  std::vector<Login> out;
  Fd fd(::open(layout.on_host("/var/log/wtmp").c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
  struct stat st {};
  if (!fd || ::fstat(fd.get(), &st) != 0 || !S_ISREG(st.st_mode)) return out;
  off_t size = st.st_size - st.st_size % static_cast<off_t>(sizeof(utmp));
  off_t from = std::max<off_t>(0, size - kRead);
  std::vector<utmp> records(static_cast<std::size_t>(size - from) / sizeof(utmp));
  ssize_t n = records.empty() ? 0 : ::pread(fd.get(), records.data(), records.size() * sizeof(utmp), from);
  for (auto i = n > 0 ? static_cast<std::size_t>(n) / sizeof(utmp) : 0; i > 0 && out.size() < most; --i) {
    const auto& r = records[i - 1];
    if (r.ut_type != USER_PROCESS) continue;
    out.push_back({word(r.ut_user), word(r.ut_host), static_cast<std::int64_t>(r.ut_tv.tv_sec) * 1000});
  }
  return out;
}

}  // namespace ripcord

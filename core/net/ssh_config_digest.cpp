#include <fmt/format.h>
#include <glob.h>
#include <sys/stat.h>

#include "core/base/files.hpp"
#include "core/base/text.hpp"
#include "core/net/ssh_config.hpp"

namespace ripcord {
namespace {

constexpr int kMaxIncludes = 16;  // as ssh's own

std::string in_lower_case(std::string_view text) {
  std::string out(text);
  for (char& c : out)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  return out;
}

class Gathering {
 public:
  bool file(const std::string& path, int depth) {
    if (depth > kMaxIncludes) return false;
    add(path);
    std::optional<std::string> text;
    try {
      text = read_file_if_exists(path, 4u << 20);
    } catch (const Error&) {
      return false;
    }
    add(text ? *text : std::string("(absent)"));
    if (!text) return true;
    bool system_wide = path.starts_with("/etc/ssh/");
    for (const auto& line : split(*text, '\n'))
      if (!directive(trim(line), system_wide, depth)) return false;
    return true;
  }
  void add(std::string_view piece) {
    sum_.update(std::to_string(piece.size()) + ":");
    sum_.update(piece);
  }
  Digest finish() { return sum_.finish(); }

 private:
  bool directive(std::string_view line, bool system_wide, int depth) {
    auto end = line.find_first_of(" \t=");
    if (line.empty() || line.front() == '#' || end == std::string_view::npos) return true;
    auto word = in_lower_case(line.substr(0, end));
    auto rest = trim(line.substr(end + 1));
    if (word == "match") return in_lower_case(rest).find("exec") == std::string::npos;  // a command's answer may change any time
    if (word != "include") return true;
    if (rest.find_first_of("%$\"'\\") != std::string_view::npos) return false;
    for (const auto& pattern : split(std::string(rest), ' '))
      if (!pattern.empty() && !include(pattern, system_wide, depth)) return false;
    return true;
  }
  bool include(const std::string& pattern, bool system_wide, int depth) {
    std::string path = expand_tilde(pattern);
    if (path.empty() || path.front() != '/') path = (system_wide ? std::string("/etc/ssh/") : home_folder() + "/.ssh/") + path;
    glob_t found{};
    bool ok = true;
    if (::glob(path.c_str(), 0, nullptr, &found) == 0)
      for (std::size_t i = 0; ok && i < found.gl_pathc; ++i) ok = file(found.gl_pathv[i], depth + 1);
    ::globfree(&found);
    return ok;
  }
  Sha256 sum_;
};

}  // namespace

std::optional<Digest> ssh_config_digest(const std::vector<std::string>& files) {
  Gathering all;
  all.add("ripcord ssh -G 1");
  all.add(home_folder());
  all.add(login_name());
  struct stat st {};
  if (::stat("/usr/bin/ssh", &st) == 0) all.add(fmt::format("{} {}", st.st_size, st.st_mtim.tv_sec));  // another version, other defaults
  for (const auto& f : files)
    if (!all.file(f, 0)) return std::nullopt;
  return all.finish();
}

}  // namespace ripcord

// Which names and links may be in a release (INVARIANTS, "Paths"). Checked when sealing and again on every host.
#include <fmt/format.h>

#include <array>
#include <unordered_map>

#include "core/base/error.hpp"
#include "core/base/text.hpp"
#include "manifests/shared/manifest.hpp"

namespace ripcord {
namespace {

constexpr std::size_t kMaxComponent = 255, kMaxPath = 1000, kMaxTarget = 1000;
constexpr int kMaxLevels = 40;

// The rule that a path breaks, or null.
const char* path_rule(std::string_view path) {
  if (path.empty()) return "it is empty";
  if (path[0] == '/') return "it is not relative";
  if (path.size() > kMaxPath) return "it is longer than 1000 bytes";
  int levels = 0;
  bool ascii = true;
  for (std::size_t at = 0; at <= path.size();) {
    auto end = std::min(path.find('/', at), path.size());
    auto name = path.substr(at, end - at);
    if (name.empty()) return "it has an empty component";
    if (name == ".." || name == ".") return "it has a '.' or '..' component";
    if (name.size() > kMaxComponent) return "it has a component longer than 255 bytes";
    if (++levels > kMaxLevels) return "it is deeper than 40 levels";
    for (unsigned char c : name) {
      if (c < 0x20 || c == 0x7f) return "it has a control character";
      ascii = ascii && c < 0x80;
    }
    at = end + 1;
  }
  if (!ascii && !is_utf8(path)) return "it is not UTF-8";
  return nullptr;
}

const char* link_rule(std::string_view path, std::string_view target) {
  if (target.empty()) return "its target is empty";
  if (target[0] == '/') return "its target is absolute";
  if (target.size() > kMaxTarget) return "its target is longer than 1000 bytes";
  if (!is_utf8(target)) return "its target is not UTF-8";
  for (unsigned char c : target)
    if (c < 0x20 || c == 0x7f) return "its target has a control character";
  if (is_persist_link(path, target)) return nullptr;
  int above = 0, climbed = 0;
  for (char c : path) above += c == '/';
  bool named = false;
  for (const auto& part : split(target, '/')) {
    if (part == "..") {
      // After a name the kernel would climb from wherever that name leads, which may be another link.
      if (named) return "its target has '..' after a name (write the shortest form)";
      if (++climbed > above) return "it leads out of the release";
    } else if (!part.empty() && part != ".") {
      named = true;
    }
  }
  return nullptr;
}

struct Accent {
  unsigned char lead, trail;  // the UTF-8 of the composed letter
  const char* apart;          // letter and combining mark
};

// Composed Latin letters of U+00C0 to U+017F as letter + mark (Unicode canonical decompositions), lower case letters only where
// both cases fold to the same key. File systems that normalise names would take the two spellings for one file.
#define RIPCORD_ROW(hi, upper, lower, apart) {hi, upper, apart}, {hi, lower, apart}
constexpr Accent kLatin1[] = {
    RIPCORD_ROW(0xC3, 0x80, 0xA0, "a\xCC\x80"), RIPCORD_ROW(0xC3, 0x81, 0xA1, "a\xCC\x81"), RIPCORD_ROW(0xC3, 0x82, 0xA2, "a\xCC\x82"),
    RIPCORD_ROW(0xC3, 0x83, 0xA3, "a\xCC\x83"), RIPCORD_ROW(0xC3, 0x84, 0xA4, "a\xCC\x88"), RIPCORD_ROW(0xC3, 0x85, 0xA5, "a\xCC\x8A"),
    RIPCORD_ROW(0xC3, 0x87, 0xA7, "c\xCC\xA7"), RIPCORD_ROW(0xC3, 0x88, 0xA8, "e\xCC\x80"), RIPCORD_ROW(0xC3, 0x89, 0xA9, "e\xCC\x81"),
    RIPCORD_ROW(0xC3, 0x8A, 0xAA, "e\xCC\x82"), RIPCORD_ROW(0xC3, 0x8B, 0xAB, "e\xCC\x88"), RIPCORD_ROW(0xC3, 0x8C, 0xAC, "i\xCC\x80"),
    RIPCORD_ROW(0xC3, 0x8D, 0xAD, "i\xCC\x81"), RIPCORD_ROW(0xC3, 0x8E, 0xAE, "i\xCC\x82"), RIPCORD_ROW(0xC3, 0x8F, 0xAF, "i\xCC\x88"),
    RIPCORD_ROW(0xC3, 0x91, 0xB1, "n\xCC\x83"), RIPCORD_ROW(0xC3, 0x92, 0xB2, "o\xCC\x80"), RIPCORD_ROW(0xC3, 0x93, 0xB3, "o\xCC\x81"),
    RIPCORD_ROW(0xC3, 0x94, 0xB4, "o\xCC\x82"), RIPCORD_ROW(0xC3, 0x95, 0xB5, "o\xCC\x83"), RIPCORD_ROW(0xC3, 0x96, 0xB6, "o\xCC\x88"),
    RIPCORD_ROW(0xC3, 0x99, 0xB9, "u\xCC\x80"), RIPCORD_ROW(0xC3, 0x9A, 0xBA, "u\xCC\x81"), RIPCORD_ROW(0xC3, 0x9B, 0xBB, "u\xCC\x82"),
    RIPCORD_ROW(0xC3, 0x9C, 0xBC, "u\xCC\x88"), RIPCORD_ROW(0xC3, 0x9D, 0xBD, "y\xCC\x81"), {0xC3, 0xBF, "y\xCC\x88"},
    RIPCORD_ROW(0xC4, 0x86, 0x87, "c\xCC\x81"), RIPCORD_ROW(0xC4, 0x8C, 0x8D, "c\xCC\x8C"), RIPCORD_ROW(0xC4, 0x8E, 0x8F, "d\xCC\x8C"),
    RIPCORD_ROW(0xC4, 0x98, 0x99, "e\xCC\xA8"), RIPCORD_ROW(0xC4, 0x9A, 0x9B, "e\xCC\x8C"), RIPCORD_ROW(0xC4, 0x9E, 0x9F, "g\xCC\x86"),
    RIPCORD_ROW(0xC4, 0x84, 0x85, "a\xCC\xA8"), RIPCORD_ROW(0xC5, 0x83, 0x84, "n\xCC\x81"), RIPCORD_ROW(0xC5, 0x87, 0x88, "n\xCC\x8C"),
    RIPCORD_ROW(0xC5, 0x90, 0x91, "o\xCC\x8B"), RIPCORD_ROW(0xC5, 0x98, 0x99, "r\xCC\x8C"), RIPCORD_ROW(0xC5, 0x9A, 0x9B, "s\xCC\x81"),
    RIPCORD_ROW(0xC5, 0x9E, 0x9F, "s\xCC\xA7"), RIPCORD_ROW(0xC5, 0xA0, 0xA1, "s\xCC\x8C"), RIPCORD_ROW(0xC5, 0xA4, 0xA5, "t\xCC\x8C"),
    RIPCORD_ROW(0xC5, 0xAE, 0xAF, "u\xCC\x8A"), RIPCORD_ROW(0xC5, 0xB0, 0xB1, "u\xCC\x8B"), RIPCORD_ROW(0xC5, 0xB9, 0xBA, "z\xCC\x81"),
    RIPCORD_ROW(0xC5, 0xBB, 0xBC, "z\xCC\x87"), RIPCORD_ROW(0xC5, 0xBD, 0xBE, "z\xCC\x8C"),
};
#undef RIPCORD_ROW

// Calls say(sentence) for each pair that may not be in one release. Twins by case or normal form may, where the unit says so.
template <class Say>
void find_twins(const std::vector<std::string>& paths, bool twins_allowed, Say say) {
  struct Seen {
    std::string_view path;
    bool folder;
  };
  std::unordered_map<std::string, Seen> seen;
  seen.reserve(paths.size() * 2);
  auto add = [&](std::string_view path, bool folder) {
    auto [at, fresh] = seen.try_emplace(twins_allowed ? std::string(path) : fold_path(path), Seen{path, folder});
    if (fresh) return true;
    const Seen& other = at->second;
    if (other.path != path)
      say(fmt::format("'{}' and '{}' differ only by case or normal form: the unit does not say allow_twins", escape_terminal(other.path), escape_terminal(path)));
    else if (other.folder != folder)
      say(fmt::format("'{}' is a file and also a folder", escape_terminal(path)));
    else if (!folder)
      say(fmt::format("'{}' is there twice", escape_terminal(path)));
    return false;
  };
  std::string_view last_parent;
  for (const auto& given : paths) {
    bool folder = !given.empty() && given.back() == '/';
    std::string_view path(given.data(), given.size() - folder);
    add(path, folder);
    auto parent = path.substr(0, path.rfind('/') == std::string_view::npos ? 0 : path.rfind('/'));
    if (parent == last_parent) continue;  // sorted: siblings stand together
    last_parent = parent;
    while (!parent.empty() && add(parent, true)) parent = parent.substr(0, parent.rfind('/') == std::string_view::npos ? 0 : parent.rfind('/'));
  }
}

bool below(std::string_view path, std::string_view folder) {
  return path.size() > folder.size() && path.substr(0, folder.size()) == folder && path[folder.size()] == '/';
}

}  // namespace

// Two paths with the same key would be one file on a file system that folds case or normalises.
std::string fold_path(std::string_view path) {
  std::string key;
  key.reserve(path.size() + 8);
  for (std::size_t i = 0; i < path.size(); ++i) {
    auto c = static_cast<unsigned char>(path[i]);
    if (c >= 'A' && c <= 'Z') c = static_cast<unsigned char>(c + ('a' - 'A'));
    const char* apart = nullptr;
    if (c >= 0xC3 && c <= 0xC5 && i + 1 < path.size())
      for (const auto& a : kLatin1)
        if (a.lead == c && a.trail == static_cast<unsigned char>(path[i + 1])) apart = a.apart;
    if (apart) key += apart, ++i;
    else key.push_back(static_cast<char>(c));
  }
  return key;
}

std::string persist_target(std::string_view path) {
  std::string up = "../../";
  for (char c : path)
    if (c == '/') up += "../";
  return up + "shared/" + std::string(path);
}

bool is_persist_link(std::string_view path, std::string_view target) {
  return !path_rule(path) && target == persist_target(path);
}

void check_release_path(std::string_view path) {
  if (const char* rule = path_rule(path))
    throw Error(fmt::format("path '{}' cannot be in a release: {}", escape_terminal(path.substr(0, 1200)), rule));
}

void check_release_link(std::string_view path, std::string_view target) {
  if (const char* rule = link_rule(path, target))
    throw Error(fmt::format("symlink '{}' -> '{}' cannot be in a release: {}", escape_terminal(path.substr(0, 1200)),
                            escape_terminal(target.substr(0, 1200)), rule));
}

std::vector<std::string> release_paths_of(const UnitSpec& spec, std::string_view source) {
  std::vector<std::string> paths;
  for (const auto& [arch, folder] : spec.code)
    if (below(source, folder)) paths.emplace_back(source.substr(folder.size() + 1));
  if (spec.config.empty() || !below(source, spec.config)) return paths;
  auto rest = source.substr(spec.config.size() + 1);
  auto skip = [&rest] {
    auto slash = rest.find('/');
    auto name = rest.substr(0, slash);
    rest = slash == std::string_view::npos ? std::string_view() : rest.substr(slash + 1);
    return name;
  };
  if (skip() != "common") skip();
  if (!rest.empty()) paths.push_back("config/" + std::string(rest));
  return paths;
}

std::vector<std::string> check_entries(const UnitSpec& spec, const std::vector<SourceEntry>& entries) {
  std::vector<std::string> findings, paths;
  paths.reserve(entries.size());
  for (const auto& e : entries) {
    auto name = [&] { return escape_terminal(std::string_view(e.path).substr(0, 1200)); };
    if (const char* rule = path_rule(e.path)) {
      findings.push_back(fmt::format("path '{}': {}", name(), rule));
      continue;
    }
    paths.push_back(e.kind == SourceEntry::Kind::dir ? e.path + "/" : e.path);
    if (e.kind == SourceEntry::Kind::link) {
      // Judged everywhere it may lie (one folder of the unit may be within another); a link that no host gets must at least stay
      // in the unit's folder.
      auto places = release_paths_of(spec, e.path);
      if (places.empty()) places.push_back(e.path);
      const char* rule = nullptr;
      for (const auto& place : places) {
        if (!rule) rule = link_rule(place, e.target);
        if (!rule && is_persist_link(place, e.target)) rule = "it leads out of the release (persist: makes that link)";
      }
      if (rule)
        findings.push_back(fmt::format("symlink '{}' -> '{}': {}", name(), escape_terminal(std::string_view(e.target).substr(0, 1200)), rule));
    } else if ((e.mode & 06000) && !(spec.allow_setuid && e.kind == SourceEntry::Kind::file)) {
      findings.push_back(fmt::format("'{}' is {}: the unit does not say allow_setuid", name(), e.mode & 04000 ? "setuid" : "setgid"));
    }
  }
  find_twins(paths, spec.allow_twins, [&](const std::string& sentence) { findings.push_back(sentence); });
  return findings;
}

}  // namespace ripcord

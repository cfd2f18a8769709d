#include "manifests/host/metadata.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>

#include "core/base/files.hpp"
#include "core/base/text.hpp"
#include "manifests/host/beneath.hpp"
#include "manifests/host/own_files.hpp"

namespace ripcord {
namespace {

constexpr std::string_view kTreeMagic = "ripcord-tree 1";
constexpr std::string_view kStatMagic = "ripcord-stat 1\n\n";

std::string_view cut(std::string_view& line, char separator) {
  auto at = line.find(separator);
  if (at == std::string_view::npos) throw Error("a line has too few fields");
  auto field = line.substr(0, at);
  line.remove_prefix(at + 1);
  return field;
}

template <class T>
T number(std::string_view text, int base) {
  T value{};
  auto [end, ec] = std::from_chars(text.data(), text.data() + text.size(), value, base);
  if (ec != std::errc() || end != text.data() + text.size()) throw Error(fmt::format("'{}' is not a number", escape_terminal(text)));
  return value;
}

}  // namespace

StatEntry StatEntry::of(const struct stat& st) {
  auto ns = [](const timespec& t) { return static_cast<std::uint64_t>(t.tv_sec) * 1'000'000'000u + static_cast<std::uint64_t>(t.tv_nsec); };
  return {static_cast<std::uint64_t>(st.st_size), ns(st.st_mtim), ns(st.st_ctim), st.st_ino, st.st_mode, st.st_uid, st.st_gid, 0};
}

TreeLine take_tree_line(std::string_view& text) {
  auto line = cut(text, '\n');
  TreeLine e;
  auto kind = cut(line, ' ');
  if (kind == "l") {
    e.kind = SourceEntry::Kind::link;
    e.mode = 0777;
    e.path = cut(line, '\t');
    e.target = line;
  } else if (kind == "d" || kind == "f") {
    e.kind = kind == "d" ? SourceEntry::Kind::dir : SourceEntry::Kind::file;
    e.mode = number<unsigned>(cut(line, ' '), 8);
    if (kind == "f") {
      e.size = number<std::uint64_t>(cut(line, ' '), 10);
      e.digest = cut(line, ' ');
    }
    e.path = line;
  } else {
    throw Error("an entry of unknown kind");
  }
  return e;
}

Tree take_tree_head(std::string_view& text) {
  Tree tree;
  auto next_line = [&text] { return cut(text, '\n'); };
  auto named = [&](std::string_view name) {
    auto line = next_line();
    if (cut(line, ' ') != name) throw Error(fmt::format("it has no line '{}'", name));
    return line;
  };
  if (next_line() != kTreeMagic) throw Error(fmt::format("it does not begin with '{}'", kTreeMagic));
  tree.unit = named("unit");
  tree.version = named("version");
  tree.manifest = Digest::require(named("manifest"));
  return tree;
}

Tree decode_tree(std::string_view text) {
  auto digest = sha256(text);
  Tree tree = take_tree_head(text);
  tree.digest = digest;
  tree.entries.reserve(static_cast<std::size_t>(std::count(text.begin(), text.end(), '\n')));
  while (!text.empty()) {
    auto line = take_tree_line(text);
    auto& e = tree.entries.emplace_back();
    e.kind = line.kind, e.mode = line.mode, e.size = line.size;
    e.path = line.path, e.target = line.target;
    if (e.kind == SourceEntry::Kind::file) e.source = e.digest = Digest::require(line.digest);
  }
  return tree;
}

std::string encode_stat_file(const StatCache& cache, const Digest& tree) {
  std::string out(kStatMagic);
  out.append(reinterpret_cast<const char*>(tree.bytes.data()), tree.bytes.size());
  out.append(reinterpret_cast<const char*>(cache.data()), cache.size() * sizeof(StatEntry));
  return out;
}

StatCache decode_stat_file(std::string_view bytes, const Digest& tree, std::size_t entries) {
  StatCache cache(entries);
  std::size_t header = kStatMagic.size() + tree.bytes.size();
  if (bytes.size() != header + entries * sizeof(StatEntry) || bytes.substr(0, kStatMagic.size()) != kStatMagic) return cache;
  if (std::memcmp(bytes.data() + kStatMagic.size(), tree.bytes.data(), tree.bytes.size()) != 0) return cache;
  if (entries) std::memcpy(cache.data(), bytes.data() + header, entries * sizeof(StatEntry));
  return cache;
}

std::string encode_id_file(const IdFile& f) {
  json::object labels;
  for (const auto& [key, value] : f.facts.labels) labels[key] = value;
  json::object o{{"version", f.id.version}, {"manifest", f.id.manifest.hex()}, {"tree", f.id.tree.hex()}, {"uid", f.uid},
                 {"gid", f.gid},            {"labels", std::move(labels)},       {"arch", f.facts.arch}};
  return json::serialize(o) + "\n";
}

IdFile decode_id_file(std::string_view text) {
  auto o = parse_json_object(text, "the id of a release");
  IdFile f;
  f.id.version = get_string(o, "version");
  f.id.manifest = Digest::require(get_string(o, "manifest"));
  f.id.tree = Digest::require(get_string(o, "tree"));
  f.uid = static_cast<unsigned>(get_int(o, "uid"));
  f.gid = static_cast<unsigned>(get_int(o, "gid"));
  for (const auto& [key, value] : get_object(o, "labels"))
    if (value.is_string()) f.facts.labels[std::string(key)] = std::string(value.get_string());
  f.facts.arch = get_string(o, "arch");
  return f;
}

StatCache load_stat_cache(const UnitLayout& unit, const StoredRelease& release) {
  auto bytes = read_file_if_exists(unit.metadata_of(release.id.folder()) + "/stat");
  return decode_stat_file(bytes.value_or(""), release.id.tree, release.tree.entries.size());
}

void distrust(const UnitLayout& unit, const StoredRelease& release, std::size_t entry) {
  note_hashed(unit, release, {{entry, StatEntry{}}});
}

void note_hashed(const UnitLayout& unit, const StoredRelease& release, const std::map<std::size_t, StatEntry>& entries) {
  auto folder = unit.metadata_of(release.id.folder());
  Fd lock(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));  // sessions beside us read, change and write it as well
  if (!lock && errno == ENOENT) return;  // the release went away
  if (!lock || ::flock(lock.get(), LOCK_EX) != 0) throw host_os_error("lock", folder, errno);
  auto cache = load_stat_cache(unit, release);
  bool changed = false;
  for (const auto& [index, stat] : entries) {
    if (index >= cache.size() || cache[index] == stat) continue;
    cache[index] = stat;
    changed = true;
  }
  if (changed) write_own_file(folder + "/stat", encode_stat_file(cache, release.id.tree));
}

std::string write_metadata(const UnitLayout& unit, const MetadataParts& parts, bool fsync_each) {
  make_own_dirs(unit.metadata());
  auto name = ".staging-" + parts.id.id.folder() + "-" + random_hex(6);
  auto folder = unit.metadata() + "/" + name;
  auto make = [](const std::string& path) {
    if (::mkdir(path.c_str(), 0700) != 0) throw host_os_error("create the folder", path, errno);
  };
  auto write = [&](const std::string& path, std::string_view bytes) {
    Fd fd(::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600));
    if (!fd) throw host_os_error("create", path, errno);
    write_own_fd(fd.get(), bytes, path);
    if (fsync_each && ::fsync(fd.get()) != 0) throw host_os_error("fsync", path, errno);
  };
  try {
    make(folder);
    write(folder + "/id", encode_id_file(parts.id));
    write(folder + "/manifest", parts.sealed->bytes);
    write(folder + "/signature", parts.sealed->signature);
    write(folder + "/tree", parts.tree->encode());
    write(folder + "/stat", encode_stat_file(*parts.stat, parts.id.id.tree));
    if (!parts.templates->empty()) make(folder + "/templates");
    for (const auto& [digest, bytes] : *parts.templates) write(folder + "/templates/" + digest.hex(), bytes);
    if (fsync_each) {
      if (!parts.templates->empty()) fsync_own_dir(folder + "/templates");
      fsync_own_dir(folder);
    }
  } catch (...) {  // a full disk should not be left fuller
    Fd parent(::open(unit.metadata().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    try {
      if (parent) remove_beneath(parent.get(), name, folder);
    } catch (const Error&) {
    }
    throw;
  }
  return name;
}

}  // namespace ripcord

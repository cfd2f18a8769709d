#include "manifests/host/placed.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <map>
#include <set>

#include "manifests/host/account.hpp"

namespace ripcord {
namespace {

std::string target_of(const ReleaseContext& release, const PlacedFile& file) {
  std::string to = release.text(file.to, "files");
  auto parts = split(to, '/');
  bool clean = to.size() > 1 && to[0] == '/' && to.back() != '/';
  for (std::size_t i = 1; i < parts.size(); ++i) clean = clean && !parts[i].empty() && parts[i] != "." && parts[i] != "..";
  for (unsigned char c : to) clean = clean && c >= ' ' && c != 0x7f;
  if (!clean)
    throw HostFailure("bad_path", fmt::format("files: '{}' is not a clean absolute path of a file", escape_terminal(to)));
  return release.layout.on_host(to);
}

const TreeEntry& source_of(const ReleaseContext& release, const PlacedFile& file) {
  for (const auto& e : release.release.tree.entries)
    if (e.path == file.from && e.kind == SourceEntry::Kind::file) return e;
  throw HostFailure("bad_path", fmt::format("files: '{}' is no file of release {}", file.from, release.release.id.folder()));
}

// The whole content of a regular file, and nothing else: no link, no FIFO.
struct Found {
  bool exists = false, regular = false;
  struct stat st {};
  Digest digest;
};

Found look(const std::string& path) {
  Found f;
  if (::lstat(path.c_str(), &f.st) != 0) {
    if (errno != ENOENT && errno != ENOTDIR) throw host_os_error("look at", path, errno);
    return f;
  }
  f.exists = true;
  f.regular = S_ISREG(f.st.st_mode);
  if (f.regular) f.digest = sha256(read_file(path));
  return f;
}

UserIds owner_of(const PlacedFile& file) {
  return file.owner.empty() ? UserIds{::geteuid(), ::getegid(), {}} : find_account(file.owner).ids;
}

// Paths that releases of this unit placed before, by the journal.
std::set<std::string> placed_before(const UnitHistory& history) {
  std::set<std::string> out;
  for (const auto& [id, op] : history.operations) {
    const auto* files = find_array(op.intent, "files");
    if (!files || op.state.phase == OpPhase::failed_unchanged) continue;
    for (const auto& f : *files)
      if (f.is_object() && get_bool_or(f.get_object(), "comes", false)) out.insert(get_string_or(f.get_object(), "path", ""));
  }
  return out;
}

void sync_folders(const std::set<std::string>& folders) {
  for (const auto& f : folders) fsync_dir(f);
}

void write_new(const Placement& p, const ReleaseContext& coming) {
  const TreeEntry& source = source_of(coming, p.file);
  std::string bytes = read_file(coming.folder + "/" + p.file.from);
  if (sha256(bytes) != source.digest)
    throw HostFailure("damaged", fmt::format("'{}' of release {} is not what was sealed", p.file.from, coming.release.id.folder()));
  std::string path = p.way.new_name();
  ::unlink(path.c_str());
  Fd fd(::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!fd) throw host_os_error("create", path, errno);
  for (std::string_view left = bytes; !left.empty();) {
    ssize_t n = ::write(fd.get(), left.data(), left.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) throw host_os_error("write", path, errno);
    left.remove_prefix(static_cast<std::size_t>(n));
  }
  UserIds owner = owner_of(p.file);
  if ((owner.uid != ::geteuid() || owner.gid != ::getegid()) && ::fchown(fd.get(), owner.uid, owner.gid) != 0)
    throw host_os_error("change the owner of", path, errno);
  if (::fchmod(fd.get(), p.file.mode) != 0) throw host_os_error("set the mode of", path, errno);
  if (::fsync(fd.get()) != 0) throw host_os_error("fsync", path, errno);
}

// A second name for the old file keeps bytes, owner, mode and attributes, and costs no space. Where links cannot be made: a copy.
void keep_old(const PlacedWay& way) {
  std::string old = way.old_name();
  ::unlink(old.c_str());
  if (::link(way.path.c_str(), old.c_str()) == 0) return;
  if (errno != EPERM && errno != EMLINK && errno != EOPNOTSUPP) throw host_os_error("keep a copy of", way.path, errno);
  struct stat st {};
  if (::lstat(way.path.c_str(), &st) != 0) throw host_os_error("look at", way.path, errno);
  write_file_durable(old, read_file(way.path), st.st_mode & 07777);
  if (::geteuid() == 0 && ::lchown(old.c_str(), st.st_uid, st.st_gid) != 0) throw host_os_error("change the owner of", old, errno);
}

}  // namespace

std::vector<Placement> plan_placed(const ReleaseContext* running, const ReleaseContext* coming, const UnitHistory& history) {
  std::set<std::string> ours = placed_before(history), wanted;
  std::map<std::string, Digest> put_there;
  if (running)
    for (const auto& f : running->spec.files) put_there[target_of(*running, f)] = source_of(*running, f).digest;
  for (const auto& [path, digest] : put_there) ours.insert(path);
  auto edited = [&](const std::string& path, const Found& there) {
    auto before = put_there.find(path);
    return before != put_there.end() && there.regular && there.digest != before->second;
  };
  std::vector<Placement> plan;
  if (coming)
    for (const auto& file : coming->spec.files) {
      Placement p{{target_of(*coming, file), false}, true, file, false};
      wanted.insert(p.way.path);
      const TreeEntry& source = source_of(*coming, file);
      Found there = look(p.way.path);
      p.way.existed = there.exists;
      if (there.exists && !there.regular)
        throw HostFailure("bad_path", fmt::format("files: '{}' is there and is no regular file", p.way.path), "move it away first");
      if (there.exists && there.digest != source.digest && !ours.count(p.way.path))
        throw HostFailure("conflict", fmt::format("files: '{}' is there, and no release of '{}' put it there", p.way.path, coming->unit.unit),
                          "move it away, or make its content part of the unit");
      UserIds owner = owner_of(file);
      bool right = there.exists && there.digest == source.digest && (there.st.st_mode & 07777) == file.mode &&
                   there.st.st_uid == owner.uid && there.st.st_gid == owner.gid;
      p.edited = there.digest != source.digest && edited(p.way.path, there);
      if (!right) plan.push_back(std::move(p));
    }
  if (running)
    for (const auto& file : running->spec.files) {
      std::string path = target_of(*running, file);
      if (wanted.count(path)) continue;
      Found there = look(path);
      if (there.exists && there.regular) plan.push_back({{path, true}, false, {}, edited(path, there)});
    }
  return plan;
}

std::vector<std::string> keep_edited(const std::vector<Placement>& plan, const ReleaseContext& running) {
  std::vector<std::string> kept;
  for (const auto& p : plan) {
    if (!p.edited) continue;
    const std::string bytes = read_file(p.way.path), name = p.way.path.substr(p.way.path.rfind('/') + 1);
    // Named by what it holds: an operation that is begun again keeps it once.
    const std::string folder = fmt::format("{}/.damaged-{}-{}", running.unit.releases, running.release.id.folder(), sha256(p.way.path + '\n' + bytes).short_hex());
    make_dirs(folder, 0700);
    if (!exists(folder + "/" + name)) write_file_durable(folder + "/" + name, bytes, 0600);
    kept.push_back(fmt::format("{}, kept in {}", p.way.path, folder));
  }
  if (!kept.empty()) fsync_dir(running.unit.releases);
  return kept;
}

void prepare_placed(const std::vector<Placement>& plan, const ReleaseContext* coming, bool save_old) {
  std::set<std::string> folders;
  for (const auto& p : plan) {
    std::string folder = parent_dir(p.way.path);
    if (!exists(folder)) {
      make_dirs(folder, 0755);
      ::chmod(folder.c_str(), 0755);  // our own umask is narrower
    }
    if (save_old && p.way.existed) keep_old(p.way);
    if (p.comes && coming) write_new(p, *coming);
    folders.insert(folder);
  }
  sync_folders(folders);
}

void switch_placed(const std::vector<Placement>& plan) {
  std::set<std::string> folders;
  for (const auto& p : plan) {
    const std::string& path = p.way.path;
    int result = p.comes ? ::rename(p.way.new_name().c_str(), path.c_str()) : ::unlink(path.c_str());
    if (result != 0 && errno != ENOENT) throw host_os_error(p.comes ? "rename into place" : "remove", path, errno);
    folders.insert(parent_dir(path));
  }
  sync_folders(folders);
}

void restore_placed(const std::vector<PlacedWay>& ways) {
  std::set<std::string> folders;
  for (const auto& w : ways) {
    std::string old = w.old_name();
    if (!w.existed) {
      if (::unlink(w.path.c_str()) != 0 && errno != ENOENT) throw host_os_error("remove", w.path, errno);
    } else {
      if (::rename(old.c_str(), w.path.c_str()) != 0 && errno != ENOENT) throw host_os_error("rename into place", w.path, errno);
      ::unlink(old.c_str());  // rename(2) leaves both names when they are one file: it was not switched
    }
    ::unlink(w.new_name().c_str());
    if (std::string folder = parent_dir(w.path); exists(folder)) folders.insert(folder);
  }
  sync_folders(folders);
}

std::vector<PlacedExpectation> expected_placed(const ReleaseContext& release) {
  std::vector<PlacedExpectation> out;
  for (const auto& file : release.spec.files) out.push_back({target_of(release, file), &source_of(release, file), file.mode, owner_of(file)});
  return out;
}

std::vector<PlacedWay> ways_of(const std::vector<Placement>& plan) {
  std::vector<PlacedWay> out;
  for (const auto& p : plan) out.push_back(p.way);
  return out;
}

json::array to_json(const std::vector<Placement>& plan) {
  json::array out;
  for (const auto& p : plan) out.push_back({{"path", p.way.path}, {"existed", p.way.existed}, {"comes", p.comes}});
  return out;
}

std::vector<Placement> placements_of(const json::object& intent) {
  std::vector<Placement> out;
  if (const auto* files = find_array(intent, "files"))
    for (const auto& f : *files)
      if (f.is_object())
        out.push_back({{get_string(f.get_object(), "path"), get_bool_or(f.get_object(), "existed", false)},
                       get_bool_or(f.get_object(), "comes", false), {}, false});
  return out;
}

void forget_prepared(const std::vector<Placement>& plan) {
  for (const auto& p : plan) {
    ::unlink(p.way.new_name().c_str());
    ::unlink(p.way.old_name().c_str());
  }
}

}  // namespace ripcord

#include "manifests/host/release_writer.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "core/base/text.hpp"
#include "manifests/host/file_hash.hpp"
#include "manifests/host/own_files.hpp"

namespace ripcord {
namespace {

using EntryKind = SourceEntry::Kind;
constexpr std::size_t kWriteChunk = 256 * 1024;

}  // namespace

ReleaseWriter::ReleaseWriter(Beneath& staging, PreparedRelease& prepared, Owner owner, bool fsync_each)
    : staging_(staging), prepared_(prepared), owner_(owner), chown_(owner.uid != ::geteuid() || owner.gid != ::getegid()),
      fsync_each_(fsync_each), stat_(prepared.tree.entries.size()) {
  const auto& entries = prepared.tree.entries;
  for (std::size_t i = 0; i < entries.size(); ++i) {
    if (entries[i].kind != EntryKind::file || entries[i].rendered) continue;
    auto& wanted = wanted_[entries[i].source];
    wanted.entries.push_back(i);
    wanted.size = entries[i].size;
  }
  for (const auto& digest : prepared.templates_lacking) {
    auto& wanted = wanted_[digest];
    wanted.is_template = true;
    for (const auto& e : prepared.manifest.entries)
      if (e.kind == EntryKind::file && e.digest == digest) wanted.size = e.size;
  }
}

void ReleaseWriter::make_folders_and_links() {
  for (const auto& e : prepared_.tree.entries) {  // sorted: a folder comes before what is in it
    if (e.kind == EntryKind::dir) staging_.make_dir(e.path);
    if (e.kind != EntryKind::link) continue;
    staging_.make_link(e.path, e.target);
    std::string leaf;
    if (chown_ && ::fchownat(staging_.parent(e.path, leaf), leaf.c_str(), owner_.uid, owner_.gid, AT_SYMLINK_NOFOLLOW) != 0)
      throw host_os_error("set the owner of", staging_.path() + "/" + e.path, errno);
  }
}

Fd ReleaseWriter::create(std::size_t entry) { return staging_.create(prepared_.tree.entries[entry].path); }

void ReleaseWriter::close(std::size_t entry, Fd fd) {
  const auto& e = prepared_.tree.entries[entry];
  auto path = [&] { return staging_.path() + "/" + e.path; };
  // Owner before mode: a change of owner clears setuid. Explicit mode: neither umask nor a folder's default ACL has a say.
  if (chown_ && ::fchown(fd.get(), owner_.uid, owner_.gid) != 0) throw host_os_error("set the owner of", path(), errno);
  if (::fchmod(fd.get(), e.mode & 07777) != 0) throw host_os_error("set the mode of", path(), errno);
  if (fsync_each_ && ::fsync(fd.get()) != 0) throw host_os_error("fsync", path(), errno);
  struct stat st {};
  if (::fstat(fd.get(), &st) != 0) throw host_os_error("look at", path(), errno);
  stat_[entry] = StatEntry::of(st);
}

void ReleaseWriter::copy_to_others(const Wanted& wanted, std::size_t done) {
  if (wanted.entries.size() < 2) return;
  const auto& first = prepared_.tree.entries[wanted.entries[done]];
  Fd from = staging_.open(first.path, O_RDONLY);
  for (std::size_t i = 0; i < wanted.entries.size(); ++i) {
    if (i == done) continue;
    Fd to = create(wanted.entries[i]);
    bool read_failed = false;
    auto digest = copy_file(from.get(), to.get(), read_failed);
    const auto& path = prepared_.tree.entries[wanted.entries[i]].path;
    if (!digest) throw host_os_error(read_failed ? "read back" : "write", staging_.path() + "/" + (read_failed ? first.path : path), errno);
    if (*digest != first.digest)
      throw HostFailure("damaged", fmt::format("'{}' did not read back as it was written", staging_.path() + "/" + first.path),
                        "look for disk errors in the kernel log");
    if (::lseek(from.get(), 0, SEEK_SET) < 0) throw host_os_error("read back", first.path, errno);
    close(wanted.entries[i], std::move(to));
  }
}

void ReleaseWriter::copy_local(LocalObjects& objects) {
  for (const auto& e : prepared_.tree.entries) {  // in the order of paths, so that one folder's files lie together
    if (e.kind != EntryKind::file || e.rendered) continue;
    auto& wanted = wanted_.at(e.source);
    while (!wanted.written) {
      auto found = objects.find(e.source);
      if (!found) break;
      auto entry = wanted.entries.front();
      Fd to = create(entry);
      bool read_failed = false;
      auto digest = copy_file(found->file.get(), to.get(), read_failed);
      if (!digest && !read_failed) throw host_os_error("write", staging_.path() + "/" + prepared_.tree.entries[entry].path, errno);
      if (digest && *digest == e.source) {
        close(entry, std::move(to));
        copy_to_others(wanted, 0);
        wanted.written = true;
      } else {  // its stat had not changed, its bytes had: a failing disk, or somebody who hides
        objects.distrust(*found);
        std::string leaf;
        int folder = staging_.parent(prepared_.tree.entries[entry].path, leaf);
        if (folder < 0 || ::unlinkat(folder, leaf.c_str(), 0) != 0) throw host_os_error("remove", leaf, errno);
      }
    }
  }
}

std::vector<Digest> ReleaseWriter::lacking() const {
  std::vector<Digest> out;
  for (const auto& [digest, wanted] : wanted_)
    if ((!wanted.entries.empty() && !wanted.written) || (wanted.is_template && !prepared_.templates.count(digest))) out.push_back(digest);
  std::sort(out.begin(), out.end());
  return out;
}

void ReleaseWriter::begin(const Digest& digest, std::uint64_t size) {
  auto found = wanted_.find(digest);
  bool needed = found != wanted_.end() && ((!found->second.entries.empty() && !found->second.written) ||
                                           (found->second.is_template && !prepared_.templates.count(digest)));
  if (!needed) throw HostFailure("bad_request", fmt::format("the pack holds the object {}, which was not asked for", digest.hex()));
  if (size != found->second.size)
    throw HostFailure("bad_request", fmt::format("the object {} has {} bytes in the pack and {} in the manifest", digest.hex(), size,
                                                 found->second.size));
  if (found->second.is_template && size > kMaxTemplate)
    throw HostFailure("bad_request", fmt::format("the template {} has {}, allowed are {}", digest.hex(), format_size(size),
                                                 format_size(kMaxTemplate)));
  open_ = &found->second;
  open_digest_ = digest;
  buffer_.clear();
  template_.clear();
  if (!open_->entries.empty()) file_ = create(open_->entries.front());
}

void ReleaseWriter::flush() {
  if (file_) write_own_fd(file_.get(), buffer_, staging_.path() + "/" + prepared_.tree.entries[open_->entries.front()].path);
  buffer_.clear();
}

void ReleaseWriter::bytes(std::string_view part) {
  if (open_->is_template) template_.append(part);
  if (!file_) return;
  if (buffer_.empty() && part.size() >= kWriteChunk / 2) {  // large parts need no gathering
    write_own_fd(file_.get(), part, staging_.path() + "/" + prepared_.tree.entries[open_->entries.front()].path);
    return;
  }
  buffer_.append(part);
  if (buffer_.size() >= kWriteChunk) flush();
}

void ReleaseWriter::end() {
  if (open_->is_template) prepared_.templates[open_digest_] = std::move(template_);
  if (file_) {
    flush();
    close(open_->entries.front(), std::move(file_));
    copy_to_others(*open_, 0);
    open_->written = true;
  }
  file_ = Fd();
  open_ = nullptr;
}

void ReleaseWriter::render_files() {
  if (!prepared_.tree_known()) {
    prepared_.templates_lacking.clear();
    prepared_.make();
  }
  auto variables = prepared_.variables();
  const auto& entries = prepared_.tree.entries;
  for (std::size_t i = 0; i < entries.size(); ++i) {
    if (!entries[i].rendered) continue;
    auto text = render(prepared_.templates.at(entries[i].source), variables, entries[i].path);
    if (sha256(text) != entries[i].digest)
      throw HostFailure("internal", fmt::format("'{}' rendered differently the second time", entries[i].path));
    Fd fd = create(i);
    write_own_fd(fd.get(), text, staging_.path() + "/" + entries[i].path);
    close(i, std::move(fd));
  }
}

StatCache ReleaseWriter::finish() {
  if (auto missing = lacking(); !missing.empty())
    throw HostFailure("missing_objects", fmt::format("{} objects of the release did not come, {} among them", missing.size(), missing.front().hex()),
                      "offer the release again: the reply names what is lacking");
  render_files();
  const auto& entries = prepared_.tree.entries;
  auto finish_folder = [&](int fd, const std::string& path, unsigned mode, StatEntry* stat) {
    if (chown_ && ::fchown(fd, owner_.uid, owner_.gid) != 0) throw host_os_error("set the owner of", path, errno);
    if (::fchmod(fd, mode) != 0) throw host_os_error("set the mode of", path, errno);
    if (fsync_each_ && ::fsync(fd) != 0) throw host_os_error("fsync the folder", path, errno);
    struct stat st {};
    if (stat && ::fstat(fd, &st) == 0) *stat = StatEntry::of(st);
  };
  for (std::size_t i = entries.size(); i-- > 0;) {  // from the bottom: a read-only folder can still be filled before
    const auto& e = entries[i];
    if (e.kind == EntryKind::dir) finish_folder(staging_.open(e.path, O_RDONLY | O_DIRECTORY).get(), e.path, e.mode & 07777, &stat_[i]);
  }
  finish_folder(staging_.fd(), staging_.path(), 0755, nullptr);
  return std::move(stat_);
}

}  // namespace ripcord

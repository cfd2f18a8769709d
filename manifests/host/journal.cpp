#include "manifests/host/journal.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "core/base/text.hpp"
#include "manifests/host/history.hpp"
#include "manifests/host/lock.hpp"
#include "manifests/host/own_files.hpp"

namespace ripcord {
namespace {

constexpr std::uint64_t kMaxJournal = 256u << 20;

[[noreturn]] void damaged(const std::string& path, std::size_t line, const std::string& why) {
  throw HostFailure("journal_damaged", fmt::format("the journal '{}' is damaged at line {}: {}", path, line, why),
                    "nothing was written; compare it with the ledger's copy of this host's records and put it right by hand");
}

JournalRecord parse_record(std::string_view line, const std::vector<JournalRecord>& before) {
  JournalRecord r;
  r.line = line;
  r.body = parse_json_object(line, "the record");
  r.seq = get_int(r.body, "seq");
  r.kind = get_string(r.body, "kind");
  r.boot = get_string(r.body, "boot");
  r.at_ms = parse_utc(get_string(r.body, "at")).ms;
  std::int64_t expected = before.empty() ? 1 : before.back().seq + 1;
  if (r.seq != expected) throw Error(fmt::format("expected record {}, found {}", expected, r.seq));
  auto prev = before.empty() ? Digest{} : before.back().hash;
  if (get_string(r.body, "prev") != prev.hex()) throw Error("its 'prev' is not the hash of the line before it");
  r.hash = sha256(line);
  return r;
}

}  // namespace

Journal::Journal(const UnitLayout& unit) : unit_(unit) {
  auto text = read_file_if_exists(unit.journal(), kMaxJournal);
  if (!text) return;
  std::string_view rest = *text;
  while (!rest.empty()) {
    auto newline = rest.find('\n');
    if (newline == std::string_view::npos) break;  // torn: never acknowledged
    auto line = rest.substr(0, newline);
    rest.remove_prefix(newline + 1);
    // A cut can also leave a last line whose newline reached the disk before its beginning: zeros, and nothing after it.
    if (rest.empty() && line.find('\0') != std::string_view::npos) break;
    try {
      records_.push_back(parse_record(line, records_));
    } catch (const Error& e) {
      damaged(unit.journal(), records_.size() + 1, e.what());
    }
    end_ += newline + 1;
  }
  size_ = text->size();
}

void Journal::open_for_append(HostContext& host) {
  if (failed_)
    throw HostFailure("internal", fmt::format("the journal '{}' could not be written before; its state is unknown", unit_.journal()));
  if (!fd_) {
    host.ensure_unit_state(unit_);
    bool fresh = !exists(unit_.journal());
    int fd = ::open(unit_.journal().c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0) throw host_os_error("open the journal", unit_.journal(), errno);
    fd_.reset(fd);
    if (fresh) fsync_own_dir(unit_.state);
  }
  struct stat st {};
  if (::fstat(fd_.get(), &st) != 0) throw host_os_error("look at the journal", unit_.journal(), errno);
  if (static_cast<std::uint64_t>(st.st_size) != size_)
    throw HostFailure("internal", fmt::format("the journal '{}' changed after it was read; read it again under the lock", unit_.journal()));
}

const JournalRecord& Journal::append(HostContext& host, const UnitLock& lock, std::string_view kind, json::object members) {
  if (!lock.held() || lock.unit() != unit_.unit) throw HostFailure("internal", "journal append without the unit's lock");
  open_for_append(host);

  std::vector<JournalRecord> fresh;
  auto add = [&](std::string_view record_kind, const json::object& body) {
    const JournalRecord* last = !fresh.empty() ? &fresh.back() : records_.empty() ? nullptr : &records_.back();
    JournalRecord r;
    r.seq = last ? last->seq + 1 : 1;
    r.kind = record_kind;
    r.boot = host.boot_id;
    r.at_ms = host.wall().ms;
    r.body = {{"seq", r.seq}, {"prev", (last ? last->hash : Digest{}).hex()}, {"kind", r.kind},
              {"at", format_utc({r.at_ms})}, {"boot", r.boot}};
    for (const auto& [key, value] : body) r.body[key] = value;
    r.line = json::serialize(r.body);
    r.hash = sha256(r.line);
    fresh.push_back(std::move(r));
  };
  if (records_.empty() && kind != "CREATED")
    add("CREATED", {{"host_id", host.ensure_host_id()}, {"unit", unit_.unit}, {"root", unit_.root}});
  add(kind, members);

  std::string bytes;
  for (const auto& r : fresh) bytes += r.line + "\n";
  auto written = bytes.size();
  // A torn line is written over, and what is left of it becomes zeros, which read as torn. Cutting it off instead would give back the
  // room reserved behind the end, just when the way back may need it on a full disk.
  if (size_ > end_ + written) bytes.append(size_ - end_ - written, '\0');
  failed_ = true;  // until it is known to be durable: after a failed write or fsync nobody knows what the disk holds
  ssize_t n = ::pwrite(fd_.get(), bytes.data(), bytes.size(), static_cast<off_t>(end_));
  if (n < 0) throw host_os_error("write the journal", unit_.journal(), errno);
  if (static_cast<std::size_t>(n) != bytes.size()) throw host_os_error("write the journal", unit_.journal(), ENOSPC);
  // fdatasync would do (it flushes the size that reading the line back needs) and costs the same, as every append changes the size.
  if (::fsync(fd_.get()) != 0) {
    int why = errno;
    take_back(bytes.size());
    throw host_os_error("fsync the journal", unit_.journal(), why);
  }
  failed_ = false;
  size_ = end_ + bytes.size();
  end_ += written;
  for (auto& r : fresh) records_.push_back(std::move(r));
  return records_.back();
}

// It can be read, and nobody knows whether it is durable: who looked now would tell of it, and who tries again would write it beside
// itself. Zeros read as torn. Not flushed: should the disk have the record all the same, the host dies between two truths that both hold.
void Journal::take_back(std::size_t bytes) {
  std::string zeros(bytes, '\0');
  if (::pwrite(fd_.get(), zeros.data(), zeros.size(), static_cast<off_t>(end_)) == static_cast<ssize_t>(bytes)) return;
  (void)!::ftruncate(fd_.get(), static_cast<off_t>(end_));  // costs the room behind it, which matters less than a lie
}

void Journal::reserve(HostContext& host, const UnitLock& lock) {
  if (!lock.held() || lock.unit() != unit_.unit) throw HostFailure("internal", "journal reserve without the unit's lock");
  open_for_append(host);
  while (::fallocate(fd_.get(), FALLOC_FL_KEEP_SIZE, static_cast<off_t>(end_), kReserve) != 0) {
    if (errno == EINTR) continue;
    if (errno == EOPNOTSUPP || errno == ENOSYS) return;  // such a file system cannot promise it
    throw host_os_error("reserve room for the way back in", unit_.journal(), errno);
  }
}

std::vector<UnitRef> known_units(const Layout& layout, const std::set<std::string>& but) {
  std::vector<UnitRef> out;
  DIR* dir = ::opendir(layout.units().c_str());
  if (!dir) return out;
  while (const dirent* entry = ::readdir(dir)) {
    UnitRef ref{entry->d_name, "/"};
    if (ref.unit[0] == '.' || but.contains(ref.unit)) continue;
    try {
      auto records = Journal(layout.unit(ref)).records();
      if (records.empty()) continue;
      ref.root = get_string(records.front().body, "root");
      layout.unit(ref);
      out.push_back(ref);
    } catch (const Error&) {
    }
  }
  ::closedir(dir);
  std::sort(out.begin(), out.end(), [](const UnitRef& a, const UnitRef& b) { return a.unit < b.unit; });
  return out;
}

}  // namespace ripcord

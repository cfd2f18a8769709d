// The host program itself: each lies in a folder named by its digest, so damage shows.
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>

#include "core/base/files.hpp"
#include "core/base/text.hpp"
#include "manifests/host/beneath.hpp"
#include "manifests/host/hash_files.hpp"
#include "manifests/host/metadata.hpp"
#include "manifests/host/own_files.hpp"
#include "manifests/host/scan.hpp"
#include "manifests/host/traces.hpp"

namespace ripcord {
namespace {

// <state>/helper.stat: {"<sha256>": [size, mtime, ctime, inode]} of programs that were right when they were last hashed.
json::object load_notes(const std::string& path) {
  try {
    auto text = read_file_if_exists(path, 1u << 20);
    return text ? parse_json_object(*text, path) : json::object{};
  } catch (const Error&) {
    return {};
  }
}

json::array note_of(const struct stat& st) {
  auto e = StatEntry::of(st);
  return {e.size, e.mtime_ns, e.ctime_ns, e.inode};
}

}  // namespace

std::vector<DriftFinding> scan_helpers(HostContext& host, const ScanManner& manner) {
  std::vector<DriftFinding> out;
  Traces traces;
  auto base = host.layout.helper(), notes_file = host.layout.state + "/helper.stat";
  Fd folder(::open(base.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!folder) return out;
  auto known = load_notes(notes_file);
  json::object notes;
  for (const auto& entry : list_folder(folder.get(), base)) {
    auto digest = Digest::parse(entry.name);
    auto path = base + "/" + entry.name + "/ripcord-host";
    struct stat st {};
    if (!digest || ::lstat(path.c_str(), &st) != 0) continue;
    const auto* trusted = known.if_contains(entry.name);
    if (!manner.full && trusted && json::serialize(*trusted) == json::serialize(note_of(st))) {
      notes[entry.name] = *trusted;
      continue;
    }
    std::string wrong;
    std::vector<FileToHash> one{{"ripcord-host", static_cast<std::uint64_t>(st.st_size)}};
    if (!S_ISREG(st.st_mode)) wrong = "it is no file";
    else if (!hash_files(base + "/" + entry.name, one, manner.pace)) throw HostFailure("cancelled", "the controller hung up before the scan had ended");
    else if (one[0].error) wrong = errno_text(one[0].error);
    else if (one[0].digest != *digest) wrong = fmt::format("expected sha256 {}, found {}", digest->short_hex(), one[0].digest.short_hex());
    if (wrong.empty()) {
      auto now = static_cast<std::uint64_t>(host.wall().ms) * 1000000;
      if (StatEntry::of(one[0].after).ctime_ns + kSameTickNs < now) notes[entry.name] = note_of(one[0].after);
      continue;
    }
    DriftFinding found{"helper", path, wrong, "", 0, 0};
    traces.of(st, found);
    out.push_back(std::move(found));
  }
  try {
    if (!host.read_only && json::serialize(notes) != json::serialize(known)) write_own_file(notes_file, json::serialize(notes));
  } catch (const Error&) {  // then they are hashed again next time
  }
  return out;
}

}  // namespace ripcord

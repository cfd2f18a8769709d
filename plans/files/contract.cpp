#include "plans/files/contract.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

namespace ripcord {
namespace {

std::string versions(const std::set<int>& reads) {
  std::vector<std::string> words;
  for (int v : reads) words.push_back(std::to_string(v));
  return words.empty() ? "nothing" : (words.size() == 1 ? "only " : "") + join(words, ", ");
}

// A release that does not name a format has nothing to do with it; one that reads none of it only writes.
bool misses(const Format& writer, const Format& reader) { return writer.writes > 0 && !reader.reads.empty() && !reader.reads.contains(writer.writes); }

const Format* find(const Party& party, const std::string& format) {
  auto found = party.formats.find(format);
  return found == party.formats.end() ? nullptr : &found->second;
}

std::string both(const Format& a, int also) {
  auto reads = a.reads;
  reads.insert(also);
  std::vector<std::string> words;
  for (int v : reads) words.push_back(std::to_string(v));
  return join(words, ", ");
}

}  // namespace

std::vector<Breach> breaches(const Party& coming, const std::vector<Party>& replaced, const std::vector<Party>& others) {
  std::vector<Breach> out;
  for (const auto& [name, mine] : coming.formats) {
    for (const auto& old : replaced) {
      const auto* theirs = find(old, name);
      if (!theirs) continue;
      if (misses(mine, *theirs))
        out.push_back({name, mine.writes, true,
                       fmt::format("no way back: {} writes {} {}, and {}, which it replaces, reads {}", coming.name(), name, mine.writes, old.name(),
                                   versions(theirs->reads)),
                       fmt::format("take two steps: first a release that reads {} of {} and writes {} as before, then this one; "
                                   "or, knowing that nobody can go back: --point-of-no-return {}:{} -m WHY",
                                   both(*theirs, mine.writes), name, theirs->writes > 0 ? std::to_string(theirs->writes) : "nothing", name, mine.writes)});
      if (misses(*theirs, mine))
        out.push_back({name, theirs->writes, false,
                       fmt::format("{} reads {} of {}, and {}, which runs beside it until the last host is switched, writes {}", coming.name(),
                                   versions(mine.reads), name, old.name(), theirs->writes),
                       fmt::format("seal a release that reads {} of {} as well", both(mine, theirs->writes), name)});
    }
    for (const auto& other : others) {
      const auto* theirs = find(other, name);
      if (!theirs) continue;
      if (misses(mine, *theirs))
        out.push_back({name, mine.writes, false,
                       fmt::format("{} writes {} {}, and {}, which runs in this fleet, reads {}", coming.name(), name, mine.writes, other.name(),
                                   versions(theirs->reads)),
                       fmt::format("take two steps: first roll out a {} that reads {} of {}, then this release", other.unit,
                                   both(*theirs, mine.writes), name)});
      if (misses(*theirs, mine))
        out.push_back({name, theirs->writes, false,
                       fmt::format("{} reads {} of {}, and {}, which runs in this fleet, writes {}", coming.name(), versions(mine.reads), name,
                                   other.name(), theirs->writes),
                       fmt::format("seal a release that reads {} of {} as well", both(mine, theirs->writes), name)});
    }
  }
  return out;
}

std::optional<FormatVersion> parse_format_version(const std::string& text) {
  auto colon = text.rfind(':');
  if (colon == std::string::npos || colon == 0) return std::nullopt;
  FormatVersion f{text.substr(0, colon), 0};
  const char* end = text.data() + text.size();
  auto [at, ec] = std::from_chars(text.data() + colon + 1, end, f.version);
  return ec == std::errc() && at == end && f.version > 0 ? std::optional(f) : std::nullopt;
}

std::string to_text(const FormatVersion& f) { return fmt::format("{}:{}", f.format, f.version); }

}  // namespace ripcord

#include "core/net/ledger_chain.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>


namespace ripcord {
namespace {

constexpr std::size_t kMaxLine = 64u << 20;

std::string machine_name() {
  std::array<char, 256> name{};
  return ::gethostname(name.data(), name.size() - 1) == 0 ? std::string(name.data()) : "unknown";
}

LedgerEntry stamped(const LedgerStore::Stamp& stamp, LedgerHead& head) {
  LedgerEntry entry;
  entry.seq = head.size;
  entry.line = stamp(head.size, head.leaf);
  if (entry.line.size() > kMaxLine)
    throw Error(fmt::format("a ledger entry of {} is over the limit of {}; nothing was written", format_size(entry.line.size()), format_size(kMaxLine)));
  entry.leaf = leaf_hash(entry.line);
  entry.body = parse_json_object(entry.line, "the new ledger entry");
  head = {entry.seq + 1, entry.leaf};
  return entry;
}

}  // namespace

std::string ledger_origin(const std::string& id, const std::string& created) {
  json::object origin;
  origin["seq"] = 0;
  origin["prev"] = Digest{}.hex();
  origin["time"] = created;
  origin["who"] = "ripcord";
  origin["machine"] = machine_name();
  origin["kind"] = "ledger.created";
  origin["id"] = id;
  origin["format"] = kLedgerFormat;
  return json::serialize(origin);
}

LedgerHead stamp_batches(std::vector<LedgerStore::Batch>& batches, LedgerHead head, const std::function<void(const LedgerStore::Guard&)>& check) {
  for (auto& batch : batches) {
    batch.stored.clear();
    batch.refused = nullptr;
    LedgerHead after = head;
    try {
      if (batch.guard) check(*batch.guard);
      for (const auto& stamp : batch.lines) batch.stored.push_back(stamped(stamp, after));
    } catch (...) {
      batch.stored.clear();
      batch.refused = std::current_exception();
      continue;
    }
    head = after;
  }
  return head;
}

void require_lease(const LedgerStore::Guard& guard, const std::optional<Lease>& now) {
  if (now && now->holder == guard.holder && now->epoch == guard.epoch) return;
  std::string text = !now || now->holder.empty() ? std::string("nobody holds it")
                                                 : escape_terminal(fmt::format("{} on {} holds it with epoch {} for rollout '{}'", now->who, now->machine,
                                                                               now->epoch, now->rollout));
  throw Error(fmt::format("the lease of '{}' (epoch {}) is no longer ours: {}; nothing was written", guard.scope, guard.epoch, text),
              fmt::format("see who took over: ripcord history {}", shell_quote(guard.scope)), Exit::held);
}

void check_ledger_end(const std::string& place, std::vector<LedgerEntry> entries, std::int64_t from, const LedgerHead& head) {
  if (static_cast<std::int64_t>(entries.size()) != head.size - from || entries.empty() || entries.back().leaf != head.leaf)
    throw ledger_damaged(place, fmt::format("its head says that it has {} entries and ends in {}, and that is not so", head.size, head.leaf.short_hex()));
  Digest prev = from == 0 ? Digest{} : entries.front().leaf;
  if (from > 0) entries.erase(entries.begin());
  if (auto broken = find_broken_link(entries, prev))
    throw ledger_damaged(place, fmt::format("entry {} does not fit the chain: it or the one before it was changed after it was written", *broken));
}

Error ledger_damaged(const std::string& place, const std::string& why) {
  return Error(fmt::format("ledger '{}' is not what was written: {}", place, why),
               place.starts_with("postgres")
                   ? "keep a copy as evidence (pg_dump) and restore the newest good one; docs/ledger.md says how to check every line"
                   : "keep the file as evidence and restore the newest good copy beside it; docs/ledger.md says how to check every line",
               Exit::integrity);
}

LedgerEntry ledger_entry(const std::string& place, std::int64_t seq, std::string line, std::string_view leaf) {
  LedgerEntry entry;
  entry.seq = seq;
  entry.line = std::move(line);
  auto where = fmt::format("entry {}", entry.seq);
  entry.leaf = ledger_digest(place, leaf, where);
  try {
    entry.body = parse_json_object(entry.line, where);
  } catch (const Error& error) {
    throw ledger_damaged(place, error.message());
  }
  return entry;
}

Digest ledger_digest(const std::string& place, std::string_view bytes, const std::string& where) {
  Digest digest;
  if (bytes.size() != digest.bytes.size()) throw ledger_damaged(place, fmt::format("the hash of {} is not 32 bytes", where));
  std::copy(bytes.begin(), bytes.end(), digest.bytes.begin());
  return digest;
}

std::string_view bytes_of(const Digest& d) { return {reinterpret_cast<const char*>(d.bytes.data()), d.bytes.size()}; }

LedgerHead SeenHead::get() const {
  std::lock_guard lock(mutex_);
  return head_;
}

void SeenHead::note(const LedgerHead& head) {
  std::lock_guard lock(mutex_);
  if (head.size > head_.size) head_ = head;
}

void require_still(const std::string& place, const LedgerHead& seen, const std::optional<std::string>& leaf) {
  if (seen.size == 0 || leaf == bytes_of(seen.leaf)) return;
  throw Error(fmt::format("ledger '{}' has lost entries: entry {} was in it before, and is not any more; another server was promoted, or an older copy restored",
                          place, seen.size - 1),
              "ripcord reconcile brings back from the hosts what it no longer knows", Exit::integrity);
}

}  // namespace ripcord

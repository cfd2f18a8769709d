#include "tests/support/memory_ledger.hpp"

#include <algorithm>

#include "core/net/ledger_chain.hpp"

namespace ripcord::test {
namespace {

class Store : public LedgerStore {
 public:
  explicit Store(MemoryLedger& memory) : m_(memory) {
    if (!m_.entries.empty()) return;
    append({[](std::int64_t, const Digest& prev) {
      return R"({"seq":0,"prev":")" + prev.hex() + R"(","time":"2026-01-01T00:00:00.000Z","who":"test","machine":"test","kind":"ledger.created"})";
    }}, std::nullopt);
  }
  void append_all(std::vector<Batch>& batches) override {
    const LedgerHead head{size(), m_.entries.empty() ? Digest{} : m_.entries.back().leaf};
    stamp_batches(batches, head, [this](const Guard& guard) { require_lease(guard, lease(guard.scope)); });
    for (const auto& batch : batches)
      for (const auto& entry : batch.stored) keep(entry);
  }
  std::vector<LedgerEntry> read(std::int64_t from, std::size_t limit) override {
    auto begin = std::min<std::size_t>(static_cast<std::size_t>(std::max<std::int64_t>(from - m_.forgotten, 0)), m_.entries.size());
    auto end = std::min(begin + limit, m_.entries.size());
    return {m_.entries.begin() + static_cast<std::ptrdiff_t>(begin), m_.entries.begin() + static_cast<std::ptrdiff_t>(end)};
  }
  std::int64_t size() override { return m_.forgotten + static_cast<std::int64_t>(m_.entries.size()); }
  std::string id() override { return "sim-ledger"; }
  std::int64_t change_counter() override { return size(); }
  std::optional<Lease> lease(const std::string& scope) override {
    auto found = m_.leases.find(scope);
    return found == m_.leases.end() ? std::nullopt : std::optional(found->second);
  }
  std::optional<Lease> acquire(Lease wanted, Millis ttl, std::int64_t at_least, bool take_over) override {
    auto found = m_.leases.find(wanted.scope);
    if (found != m_.leases.end() && found->second.expires_ms > m_.clock.wall().ms && found->second.holder != wanted.holder && !take_over)
      return std::nullopt;
    auto& epoch = m_.epochs[wanted.scope];
    epoch = std::max(epoch, at_least) + 1;
    wanted.epoch = epoch;
    wanted.acquired_ms = m_.clock.wall().ms;
    wanted.expires_ms = wanted.acquired_ms + ttl.count();
    return m_.leases[wanted.scope] = wanted;
  }
  bool renew(const Lease& held, Millis ttl) override {
    auto found = m_.leases.find(held.scope);
    if (found == m_.leases.end() || found->second.epoch != held.epoch || found->second.holder != held.holder) return false;
    found->second.expires_ms = m_.clock.wall().ms + ttl.count();
    return true;
  }
  void release(const Lease& held) override {
    auto found = m_.leases.find(held.scope);
    if (found != m_.leases.end() && found->second.epoch == held.epoch && found->second.holder == held.holder) m_.leases.erase(found);
  }

 private:
  void keep(const LedgerEntry& e) {
    m_.entries.push_back(e);
    if (m_.entries.size() > m_.keep) {
      auto gone = static_cast<std::ptrdiff_t>(m_.entries.size() - m_.keep / 2);
      m_.entries.erase(m_.entries.begin(), m_.entries.begin() + gone);
      m_.forgotten += gone;
    }
    if (m_.on_append) m_.on_append(e);
  }
  MemoryLedger& m_;
};

}  // namespace

std::unique_ptr<LedgerStore> MemoryLedger::open() { return std::make_unique<Store>(*this); }

}  // namespace ripcord::test

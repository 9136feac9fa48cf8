// What every DataSource promises, whatever it reads from.
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "tests/unit/worker/data/data_testing.h"
#include "worker/data/data_source.h"
#include "worker/data/memory_source.h"

namespace cssp {
namespace {

constexpr int kRecords = 2500;  // more than two transactions of a writer

struct Kind {
  std::string name;
  absl::StatusOr<std::unique_ptr<DataSource>> (*make)(
      const std::string& folder, const std::vector<caffe::Datum>& datums);
};

template <BaseFormat format>
absl::StatusOr<std::unique_ptr<DataSource>> MakeBase(
    const std::string& folder, const std::vector<caffe::Datum>& datums) {
  const std::string path = folder + "/base";
  auto writer = CreateBase(format, path);
  if (!writer.ok()) return writer.status();
  for (size_t i = 0; i < datums.size(); ++i) {
    const absl::Status put = (*writer)->Put(absl::StrFormat("%08d", i),
                                            datums[i].SerializeAsString());
    if (!put.ok()) return put;
  }
  const absl::Status committed = (*writer)->Commit();
  if (!committed.ok()) return committed;
  writer->reset();
  return OpenBase(format, path);
}

absl::StatusOr<std::unique_ptr<DataSource>> MakeMemory(
    const std::string& folder, const std::vector<caffe::Datum>& datums) {
  auto source = std::make_unique<MemorySource>();
  for (const caffe::Datum& datum : datums) {
    source->Add({datum.channels(), datum.height(), datum.width(), datum.data(),
                 {datum.float_data().begin(), datum.float_data().end()},
                 datum.label()});
  }
  return source;
}

class DataSourceConformance : public testing::TestWithParam<Kind> {
 protected:
  std::unique_ptr<DataSource> Make(const std::vector<caffe::Datum>& datums) {
    auto source = GetParam().make(folder_.path(), datums);
    EXPECT_TRUE(source.ok()) << source.status();
    return source.ok() ? *std::move(source) : nullptr;
  }
  TempFolder folder_;
};

TEST_P(DataSourceConformance, GivesEveryRecordByIndex) {
  std::vector<caffe::Datum> datums;
  for (int i = 0; i < kRecords; ++i) datums.push_back(ByteDatum(i));
  const auto source = Make(datums);
  ASSERT_NE(source, nullptr);
  ASSERT_EQ(source->size(), kRecords);
  std::string storage;
  for (int i = kRecords - 1; i >= 0; i -= 7) {
    const auto record = source->Read(i, &storage);
    ASSERT_TRUE(record.ok()) << record.status();
    EXPECT_EQ(record->channels, 2);
    EXPECT_EQ(record->height, 3);
    EXPECT_EQ(record->width, 4);
    EXPECT_EQ(record->label, i % 10);
    EXPECT_EQ(record->bytes, datums[i].data());
    EXPECT_TRUE(record->floats.empty());
  }
}

TEST_P(DataSourceConformance, GivesFloats) {
  caffe::Datum datum;
  datum.set_channels(1);
  datum.set_height(2);
  datum.set_width(2);
  datum.set_label(-3);
  for (const float value : {0.5f, -1.25f, 3e30f, 0.0f})
    datum.add_float_data(value);
  const auto source = Make({datum});
  ASSERT_NE(source, nullptr);
  std::string storage;
  const auto record = source->Read(0, &storage);
  ASSERT_TRUE(record.ok()) << record.status();
  EXPECT_TRUE(record->bytes.empty());
  EXPECT_EQ(record->label, -3);
  EXPECT_THAT(record->floats, testing::ElementsAre(0.5f, -1.25f, 3e30f, 0.0f));
}

TEST_P(DataSourceConformance, ThreadsReadAtOnce) {
  std::vector<caffe::Datum> datums;
  for (int i = 0; i < 100; ++i) datums.push_back(ByteDatum(i));
  const auto source = Make(datums);
  ASSERT_NE(source, nullptr);
  std::vector<int> wrong(4, 0);
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      std::string storage;
      for (int k = 0; k < 1000; ++k) {
        const int i = (k * 37 + t * 11) % 100;
        const auto record = source->Read(i, &storage);
        if (!record.ok() || record->bytes != datums[i].data()) ++wrong[t];
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_THAT(wrong, testing::Each(0));
}

INSTANTIATE_TEST_SUITE_P(
    Kinds, DataSourceConformance,
    testing::Values(Kind{"Lmdb", MakeBase<BaseFormat::kLmdb>},
                    Kind{"LevelDb", MakeBase<BaseFormat::kLevelDb>},
                    Kind{"Memory", MakeMemory}),
    [](const auto& info) { return info.param.name; });

}  // namespace
}  // namespace cssp

#include "common/model_file/plateau_fields.h"

#include <bit>
#include <string>

#include "google/protobuf/unknown_field_set.h"
#include "gtest/gtest.h"

namespace cssp {
namespace {

TEST(PlateauFields, SurviveAFile) {
  caffe::SolverState state;
  state.set_iter(77);
  EXPECT_FALSE(GetPlateauFields(state).has_value());
  SetPlateauFields(
      {.minimum_loss = 0.25f, .last_event = 41, .smoothed_loss = 0.5f}, &state);
  std::string bytes;
  ASSERT_TRUE(state.SerializeToString(&bytes));
  caffe::SolverState read;
  ASSERT_TRUE(read.ParseFromString(bytes));
  const auto fields = GetPlateauFields(read);
  ASSERT_TRUE(fields.has_value());
  EXPECT_EQ(fields->minimum_loss, 0.25f);
  EXPECT_EQ(fields->last_event, 41);
  EXPECT_EQ(fields->smoothed_loss, 0.5f);
}

// Bytes of a file of before: 1 iter, 5 fixed32, 6 varint, 10000 fixed32.
TEST(PlateauFields, OfOldFilesAreRead) {
  const std::string bytes(
      "\x08\x4d"
      "\x2d\x00\x00\x80\x3e"
      "\x30\x29"
      "\x85\xf1\x04\x00\x00\x00\x3f",
      16);
  caffe::SolverState state;
  ASSERT_TRUE(state.ParseFromString(bytes));
  EXPECT_EQ(state.iter(), 77);
  const auto fields = GetPlateauFields(state);
  ASSERT_TRUE(fields.has_value());
  EXPECT_EQ(fields->minimum_loss, 0.25f);
  EXPECT_EQ(fields->last_event, 41);
  EXPECT_EQ(fields->smoothed_loss, 0.5f);
}

TEST(PlateauFields, HalfAStateIsNone) {
  caffe::SolverState state;
  state.set_smoothed_loss(1);
  state.set_minimum_loss(1);
  EXPECT_FALSE(GetPlateauFields(state).has_value());
  state.set_iter_last_event(-1);
  EXPECT_FALSE(GetPlateauFields(state).has_value());
  state.set_iter_last_event(0);
  EXPECT_TRUE(GetPlateauFields(state).has_value());
}

}  // namespace
}  // namespace cssp

//! Every byte at which a small log can be cut, every bit that can be flipped, every file that can vanish: the
//! acknowledged state, or a refusal that names the file.

use super::*;

/// Opens a copy of the disk after `damage`. It must show the view, or refuse and name the file.
fn try_out(
    disk: &FaultyDisk,
    view: &View,
    file: &str,
    damage: impl FnOnce(&FaultyDisk),
) -> Result<(), DirectoryError> {
    let copy = disk.copy();
    damage(&copy);
    match open(&copy) {
        Ok(log) => {
            assert_eq!(View::of(&log), *view, "{file}");
            Ok(())
        }
        Err(refusal) => {
            let line = refusal.to_string();
            assert!(line.contains(file) && !line.contains('\n'), "{file}: {line}");
            Err(refusal)
        }
    }
}

fn segments(disk: &FaultyDisk) -> Vec<String> {
    let names = disk.list(recovery::FOLDER).unwrap();
    let segments = names.into_iter().filter(|name| name.ends_with(".seg"));
    segments.map(|name| format!("{}/{name}", recovery::FOLDER)).collect()
}

#[test]
fn a_log_cut_at_any_byte_is_refused() {
    let (disk, view) = lived(&life());
    for file in segments(&disk) {
        for length in 0..disk.contents(&file).len() {
            let cut = try_out(&disk, &view, &file, |disk| disk.damage(&file, |bytes| bytes.truncate(length)));
            assert!(matches!(cut, Err(DirectoryError::Damaged { .. })), "{file} cut at {length}: {cut:?}");
        }
    }
}

#[test]
fn a_flipped_bit_loses_nothing_and_is_named() {
    let (disk, view) = lived(&life());
    for file in segments(&disk) {
        let mut refused = 0;
        let length = disk.contents(&file).len();
        for bit in 0..length * 8 {
            let flip = |disk: &FaultyDisk| disk.damage(&file, |bytes| bytes[bit / 8] ^= 1 << (bit % 8));
            match try_out(&disk, &view, &file, flip) {
                Ok(()) => {}
                Err(DirectoryError::Damaged { offset, .. }) => {
                    refused += 1;
                    assert!(offset <= (bit / 8) as u64, "bit {bit} of {file}: named {offset}");
                }
                Err(other) => panic!("bit {bit} of {file}: {other}"),
            }
        }
        assert!(refused > 0, "{file} holds nothing that counts");
    }
}

#[test]
fn a_missing_segment_is_refused() {
    let (disk, view) = lived(&life());
    let all = segments(&disk);
    assert!(all.len() > 2, "{all:?}");
    for file in &all {
        let gone = try_out(&disk, &view, file, |disk| disk.remove(file).unwrap());
        assert!(matches!(gone, Err(DirectoryError::Missing { .. })), "{file}: {gone:?}");
    }
    let none = try_out(&disk, &view, "0000000001.seg", |disk| {
        all.iter().for_each(|file| disk.remove(file).unwrap());
    });
    assert!(matches!(none, Err(DirectoryError::Missing { .. })), "{none:?}");
}

#[test]
fn segments_in_each_others_place_are_refused() {
    let (disk, view) = lived(&life());
    let all = segments(&disk);
    for (this, other) in all.iter().zip(&all[1..]) {
        let swapped = try_out(&disk, &view, this, |disk| {
            let (a, b) = (disk.contents(this), disk.contents(other));
            disk.damage(this, |bytes| *bytes = b);
            disk.damage(other, |bytes| *bytes = a);
        });
        assert!(matches!(swapped, Err(DirectoryError::Damaged { .. })), "{swapped:?}");
    }
}

#[test]
fn a_record_that_was_wiped_out_before_others_is_damage() {
    let (disk, view) = lived(&life());
    let file = segments(&disk).pop().unwrap();
    let bytes = disk.contents(&file);
    let number: u64 = file[4..14].parse().unwrap();
    let mut at = recovery::PREAMBLE;
    let mut wiped = 0;
    while let Some(framed) = record::unframe(&bytes[at..], number) {
        let range = at..at + framed.length;
        at = range.end;
        let is_last = record::unframe(&bytes[at..], number).is_none();
        let result = try_out(&disk, &view, &file, |disk| disk.damage(&file, |bytes| bytes[range].fill(0)));
        assert_eq!(
            result.is_err(),
            !is_last,
            "the mark at the end says nothing that is not known: {result:?}"
        );
        wiped += 1;
    }
    assert!(wiped > 2);
}

#[test]
fn a_newer_segment_is_refused_as_such() {
    let (disk, view) = lived(&life());
    let file = segments(&disk).pop().unwrap();
    let newer = try_out(&disk, &view, &file, |disk| {
        disk.damage(&file, |bytes| {
            bytes[8..12].copy_from_slice(&2_u32.to_le_bytes());
            bytes[12..16].copy_from_slice(&(!2_u32).to_le_bytes());
        });
    });
    assert!(matches!(newer, Err(DirectoryError::Newer { found: 2, .. })), "{newer:?}");
}

#[test]
fn every_bit_of_the_format_file_counts() {
    let (disk, view) = lived(&life());
    let length = disk.contents("FORMAT").len();
    for bit in 0..length * 8 {
        let flip = |disk: &FaultyDisk| disk.damage("FORMAT", |bytes| bytes[bit / 8] ^= 1 << (bit % 8));
        let flipped = try_out(&disk, &view, "FORMAT", flip);
        assert!(flipped.is_err(), "bit {bit}");
    }
    for cut in 0..length {
        let cut = try_out(&disk, &view, "FORMAT", |disk| disk.damage("FORMAT", |bytes| bytes.truncate(cut)));
        assert!(matches!(cut, Err(DirectoryError::Damaged { .. })), "{cut:?}");
    }
    let gone = try_out(&disk, &view, "FORMAT", |disk| disk.remove("FORMAT").unwrap());
    assert!(matches!(gone, Err(DirectoryError::Foreign { .. })), "{gone:?}");
}

#[test]
fn rot_that_comes_while_the_log_is_open_is_named_too() {
    let disk = FaultyDisk::new(1);
    let mut log = open(&disk).unwrap();
    perform(&log, &Step::Append(vec![batch(1, 1, 3), batch(1, 2, 3)])).unwrap();
    let file = segments(&disk).pop().unwrap();
    let place = log.inner.shared.kept.lock().range(2..3).next().unwrap().place.unwrap();
    disk.damage(&file, |bytes| bytes[usize::try_from(place.offset).unwrap() + 30] ^= 4);
    assert_eq!(now(log.try_get_log_entries(1..2)).unwrap().len(), 1);
    let error = now(log.try_get_log_entries(1..3)).unwrap_err().to_string();
    assert!(error.contains(&format!("{file}: damaged at byte {}", place.offset)), "{error}");
}

//! Who reads what, when, and what of it is told: on tensors of one byte.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;

use burn_pack::DType;

use super::*;

/// Tensors whose one byte is their number, and which say so to `read` when they are read.
fn tensors(
    count: u8,
    cost: usize,
    read: impl Fn(u8) -> Result<(), Error> + Send + Sync + 'static,
) -> Vec<Wanted> {
    let read = Arc::new(read);
    let tensor = |index: u8| {
        let read = Arc::clone(&read);
        let bytes = move || read(index).map(|()| Bytes::from_bytes_vec(vec![index]));
        Tensor::deferred(index.to_string(), DType::U8, vec![1], None, 1, bytes)
    };
    (0..count).map(|index| Wanted { tensor: tensor(index), cost }).collect()
}

fn byte(tensor: &Tensor) -> u8 {
    tensor.to_bytes().unwrap()[0]
}

#[test]
fn tensors_are_there_in_whatever_order_they_are_asked_for() {
    let orders: [Vec<u8>; 4] = [
        (0..50).collect(),
        (0..50).rev().collect(),
        (0..50).map(|i| i % 5 * 10 + i / 5).collect(),
        vec![49, 3],
    ];
    for order in orders {
        for (threads, ahead, claim) in [(0, 1, 1), (1, 1, 1), (3, 4, 1), (3, 100, 7)] {
            let limits = Limits { threads, ahead, claim };
            let (read, failure) = limits.read_ahead(tensors(50, 1, |_| Ok(())), |tensors| {
                order.iter().map(|&index| byte(&tensors[usize::from(index)])).collect::<Vec<_>>()
            });
            assert_eq!(read, order);
            assert!(failure.is_none());
        }
    }
}

/// Reads 20 tensors as far ahead as 5 go. Returns those that are read before the first is asked for, of which there
/// are `first`, and how many were ever read and not asked for.
fn ahead(cost: usize, first: usize) -> (Vec<u8>, usize) {
    let (begun, asked, most) =
        (AtomicUsize::new(0), Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let counted = (Arc::clone(&asked), Arc::clone(&most));
    let (tell, told) = mpsc::channel();
    let wanted = tensors(20, cost, move |index| {
        let begun = begun.fetch_add(1, Ordering::SeqCst) + 1;
        counted.1.fetch_max(begun.saturating_sub(counted.0.load(Ordering::SeqCst)), Ordering::SeqCst);
        let _ = tell.send(index);
        Ok(())
    });
    let (mut before, _) = Limits { threads: 2, ahead: 5, claim: 2 }.read_ahead(wanted, |tensors| {
        let before: Vec<u8> = told.iter().take(first).collect();
        for tensor in &tensors {
            asked.fetch_add(1, Ordering::SeqCst);
            byte(tensor);
        }
        before
    });
    before.sort_unstable();
    (before, most.load(Ordering::SeqCst))
}

#[test]
fn readers_are_ahead_of_the_caller_and_no_further_than_they_may() {
    assert_eq!(ahead(1, 5), (vec![0, 1, 2, 3, 4], 5));
}

#[test]
fn a_tensor_that_is_larger_than_all_that_may_be_read_ahead_is_read_ahead_alone() {
    assert_eq!(ahead(6, 1), (vec![0], 1));
}

#[test]
fn of_several_that_cannot_be_read_the_first_is_told_of_and_the_rest_is_left() {
    let (tell, told) = mpsc::channel();
    let (told, count) = (Mutex::new(told), Arc::new(AtomicUsize::new(0)));
    let reads = Arc::clone(&count);
    let wanted = tensors(200, 1, move |index| {
        reads.fetch_add(1, Ordering::SeqCst);
        match index {
            // Fails after the next one, and by a panic.
            3 => panic!("{} was first", told.lock().unwrap().recv().unwrap()),
            4 => {
                tell.send(index).unwrap();
                Err(Error::IoError(index.to_string()))
            }
            _ => Ok(()),
        }
    });
    let (answers, failure) = Limits { threads: 2, ahead: 10, claim: 1 }.read_ahead(wanted, |tensors| {
        tensors.iter().map(|tensor| tensor.to_bytes().is_ok()).collect::<Vec<_>>()
    });
    let failure = failure.unwrap();
    assert_eq!(failure.index, 3);
    assert!(failure.error.to_string().contains("4 was first"), "{}", failure.error);
    assert_eq!(answers.iter().position(|read| !read), Some(3));
    assert!(count.load(Ordering::SeqCst) < 20, "{count:?} were read");
}

#[test]
fn a_caller_that_unwinds_leaves_no_reader_behind() {
    let (tell, told) = mpsc::channel();
    let wanted =
        tensors(100, 1, move |index| tell.send(index).map_err(|error| Error::IoError(error.to_string())));
    let unwound = catch_unwind(AssertUnwindSafe(|| {
        Limits { threads: 2, ahead: 2, claim: 1 }.read_ahead(wanted, |_| {
            // Both readers have put one down and wait for room, or soon will.
            assert!(told.iter().take(2).all(|index| index < 2));
            panic!("the device is gone")
        })
    }));
    assert_eq!(panic_message(&*unwound.map(|((), _)| ()).unwrap_err()), "the device is gone");
    assert!(told.iter().next().is_none(), "a reader has a tensor still");
}

"""Questions and answers: VQA 2.0, VQA VG Japanese, answer vocabularies."""

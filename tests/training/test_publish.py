def test_x(evaluated_family, family, tmp_path):
    import shutil

    shutil.copytree(evaluated_family, "/tmp/w-scratch/evaluated", dirs_exist_ok=True)
    shutil.copytree(family, "/tmp/w-scratch/family", dirs_exist_ok=True)
